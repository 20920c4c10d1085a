"""What is loaded is what the model can have; what cannot be is refused, by name."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from invflow import IAF, UMNN, Flow, RealNVP
from invflow.conditioners import Conditioner
from invflow.flows import FlowMixture, Preconditioned
from invflow.transforms import BatchNorm, LULinear, Permutation, Preconditioner
from tests.flows.test_parameters import MODELS
from tests.helpers import (
    CONDITIONERS,
    TRANSFORMS,
    UNIVARIATES,
    assert_close,
    context_for,
    flow,
    perturbed,
    randn,
    unrecorded,
    values,
)

Part = Any


def _made(name: str) -> Conditioner:
    return perturbed(CONDITIONERS[name](UNIVARIATES["affine"].start))


def _numbers(part: Part) -> list[Tensor]:
    """Return what a part computes, in its own precision."""
    like = next((t for t in part.state_dict().values() if t.is_floating_point()), torch.zeros(0))
    context = context_for(part, 5)
    context = None if context is None else context.to(like)
    if isinstance(part, Conditioner):
        return [part(randn(5, part.features).to(like), context)]
    if hasattr(part, "inverse"):
        ways = ((part, "forward"), (part.inverse, "inverse"))
        return [each for run, way in ways for each in run(values(part, way, 5).to(like), context)]
    x = torch.sigmoid(randn(5, part.features))  # inside all supports
    arguments = () if context is None else (context,)
    return [part(*arguments, validate_args=False).log_prob(x.to(like))]


#: One of each kind: flows and mixtures, transforms, conditioners.
PARTS: dict[str, Callable[[], Part]] = {
    **{f"flow/{name}": build for name, build in MODELS.items()},
    **{
        f"transform/{name}": build
        for name, build in TRANSFORMS.items()
        if "/" not in name and "65" not in name
    },
    **{
        f"conditioner/{name}": (lambda name=name: _made(name))
        for name in CONDITIONERS
        if "65" not in name and "panels" not in name
    },
}
parts = pytest.mark.parametrize("name", PARTS)


def _emptied(part: Part) -> Part:
    """Return a part on the CPU whose tensors hold what happens to be there: here, the worst."""
    part = part.to("meta").to_empty(device="cpu")
    kept = {id(buffer) for module in part.modules() for buffer in _constants(module)}
    for tensor in (*part.parameters(), *part.buffers()):
        if id(tensor) not in kept:
            tensor.data.fill_(-7 if tensor.dtype != torch.bool else 1)
    return part


def _constants(module: nn.Module) -> list[Tensor]:
    names = module._non_persistent_buffers_set
    return [module._buffers[name] for name in names if module._buffers[name] is not None]


@parts
def test_a_state_makes_an_empty_model_whole(name: str) -> None:
    part = PARTS[name]()
    expected, state = _numbers(part), copy.deepcopy(part.state_dict())
    emptied = _emptied(part)
    emptied.load_state_dict(state)
    assert all(map(torch.equal, _numbers(emptied), expected))


@parts
def test_a_state_is_assigned(name: str) -> None:
    part = PARTS[name]()
    expected, state = _numbers(part), copy.deepcopy(part.state_dict())
    part = part.to("meta")
    part.load_state_dict(state, assign=True)
    assert all(tensor.device.type == "cpu" for tensor in (*part.parameters(), *part.buffers()))
    assert all(map(torch.equal, _numbers(part), expected))


@parts
def test_it_may_be_built_without_memory(name: str) -> None:
    part = PARTS[name]()
    expected, state = _numbers(part), copy.deepcopy(part.state_dict())
    for assign in (False, True):
        with torch.device("meta"):
            twin = copy.deepcopy(part) if not name.startswith("flow") else _built_like(part)
        twin = twin.to("meta").double()
        twin = twin if assign else twin.to_empty(device="cpu")
        twin.load_state_dict(state, assign=assign)
        assert all(map(torch.equal, _numbers(twin), expected))


def _built_like(model: Flow) -> Flow:
    """Return a model of the same configuration, made afresh on the device that is the default."""
    if type(model).name is None:
        return copy.deepcopy(model)
    config = model.described()
    twin = type(model).kinds()[config.pop("name")](**config)
    assert all(tensor.device.type == "meta" for tensor in twin.parameters())
    return twin


@parts
def test_copies_are_equal(name: str) -> None:
    part = PARTS[name]()
    expected = _numbers(part)
    for twin in (copy.deepcopy(part), pickle.loads(pickle.dumps(part)), part.share_memory()):
        assert all(map(torch.equal, _numbers(twin), expected))
    rounded = part.float().double()  # the same numbers, rounded once
    expected = _numbers(rounded)
    assert all(map(torch.equal, _numbers(rounded.float().double()), expected))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "name", ["iaf-2", "nsf-8", "maf-8-attention-context", "gaussian-3-context"]
)
def test_half_precision_knows_the_same_structure(name: str, dtype: torch.dtype) -> None:
    model = MODELS[name]().to(dtype)
    state = copy.deepcopy(model.state_dict())
    emptied = _emptied(model)
    emptied.load_state_dict(state)
    exact = MODELS[name]()
    exact.load_state_dict(state)
    for one, other in zip(_constants_of(emptied), _constants_of(exact), strict=True):
        assert torch.equal(one.double(), other.double())


def _constants_of(model: nn.Module) -> list[Tensor]:
    return [tensor for module in model.modules() for tensor in _constants(module)]


_BAD_ORDERS = {
    "twice": (lambda order: torch.zeros_like(order), ValueError, "permutation"),
    "beyond": (lambda order: order + 1, ValueError, "permutation"),
    "negative": (lambda order: -order, ValueError, "permutation"),
    "numbers": (lambda order: order.double(), TypeError, "must hold integers"),
    "booleans": (lambda order: order > 0, TypeError, "must hold integers"),
}
#: Whatever takes features in an order.
_ORDERED: dict[str, Callable[[], nn.Module]] = {
    **{
        f"{name}-{inverse}": flow(IAF, 3, 0, 2, (6,), order="random", inverse=inverse, **options)
        for name, options in {"iaf": {}, "nsf": {"univariate": "spline"}}.items()
        for inverse in ("auto", "passes", "fixed_point")
    },
    "realnvp": flow(RealNVP, 3, 0, 2, (6,)),
    "permutation": lambda: Permutation([2, 0, 1]),
    "linear": lambda: LULinear(3, "reverse"),
    "naf": MODELS["naf-3"],
    "umnn": flow(UMNN, 3, 0, 2, (6,), order="random"),
    "nested": MODELS["nested"],
    "preconditioned": lambda: Preconditioned(flow(IAF, 3, 0, 2, (6,), order="random")()),
}


@pytest.mark.parametrize("bad", _BAD_ORDERS)
@pytest.mark.parametrize("name", _ORDERED)
@pytest.mark.parametrize("assign", [False, True])
def test_an_order_that_is_none_is_refused(name: str, bad: str, assign: bool) -> None:
    spoil, error, message = _BAD_ORDERS[bad]
    part = _ORDERED[name]()
    before = copy.deepcopy(part.state_dict())
    keys = [key for key in before if key.endswith("order") and len(before[key])]
    assert keys
    for key in keys:
        with pytest.raises(error, match=rf"{key}.*{message}"):
            part.load_state_dict({**before, key: spoil(before[key])}, assign=assign)
    after = part.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


_BAD_WEIGHTS = {
    "nan": (lambda weight: weight * torch.nan, ValueError, "must be finite.*NaN"),
    "infinite": (lambda weight: weight / 0, ValueError, "must be finite.*infinite"),
    "integers": (lambda weight: weight.long(), TypeError, "must hold floating-point numbers"),
    "booleans": (lambda weight: weight > 0, TypeError, "must hold floating-point numbers"),
    "complex": (lambda weight: weight + 0j, TypeError, "must hold floating-point numbers"),
    "sparse": (lambda weight: weight.to_sparse(), TypeError, "must hold floating-point numbers"),
}


@pytest.mark.parametrize("bad", _BAD_WEIGHTS)
@parts
def test_weights_that_are_none_are_refused(name: str, bad: str) -> None:
    spoil, error, message = _BAD_WEIGHTS[bad]
    part = PARTS[name]()
    before = copy.deepcopy(part.state_dict())
    keys = [key for key, each in before.items() if each.is_floating_point() and each.numel()]
    for key in keys[-1:]:
        with pytest.raises(error, match=rf"{key} {message}"):
            part.load_state_dict({**before, key: spoil(before[key])})
    after = part.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)  # none has been loaded


def test_numbers_that_a_precision_does_not_have_are_refused() -> None:
    model = MODELS["iaf-2"]()
    state = {key: value * 1e6 for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"weight must be finite in torch.float16"):
        model.half().load_state_dict(state)


def test_a_model_around_a_flow_refuses_too() -> None:
    whole = nn.Sequential(nn.Linear(2, 2), MODELS["iaf-2"]())
    state = whole.state_dict()
    key = next(key for key in state if key.endswith("conditioner.bias"))
    assert key.startswith("1.")
    with pytest.raises(ValueError, match=f"{key} must be finite"):
        whole.load_state_dict({**state, key: state[key] * torch.nan})


@pytest.mark.parametrize(
    ("part", "state", "message"),
    [
        (Preconditioner(2), {"scale": -torch.eye(2)}, "positive diagonal"),
        (Preconditioner(2), {"scale": torch.ones(2, 2)}, "lower triangular"),
        (Preconditioner(2), {"location": torch.tensor([0.0, torch.nan])}, "finite"),
        (BatchNorm(2), {"running_variance": -torch.ones(2)}, "must not be negative"),
    ],
)
def test_what_else_a_map_needs(part: nn.Module, state: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        part.load_state_dict({**part.state_dict(), **state})


@pytest.mark.parametrize(
    ("key", "spoil", "message"),
    [
        ("order", lambda order: torch.zeros_like(order), "order must be a permutation"),
        ("order", lambda order: order.double(), "order must hold integers"),
        ("weight", lambda weight: weight * torch.nan, "weight must be finite"),
        ("weight", lambda weight: weight.long(), "weight must hold floating-point numbers"),
        (
            "weight",
            lambda weight: weight.float(),
            r"the same precision.*torch.float32 \(\S*weight\)",
        ),
        ("weight", lambda weight: weight[:-1], "weight must have shape"),
    ],
)
def test_files(key: str, spoil: Callable[[Tensor], Tensor], message: str, tmp_path: Path) -> None:
    flow(IAF, 3, 0, 2, (6,), order="random")().save_pretrained(tmp_path)
    unrecorded(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    name = next(name for name in tensors if name.endswith(key))
    safetensors.torch.save_file({**tensors, name: spoil(tensors[name]).contiguous()}, path)
    with pytest.raises(ValueError, match=rf"(?s){tmp_path}.*{message}"):
        Flow.from_pretrained(tmp_path)


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    model = MODELS["iaf-2"]()
    model.transform.transforms[0].float()
    with pytest.raises(TypeError, match="tensors must all have the same precision"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_mixture_is_as_exact_as_its_parts(tmp_path: Path) -> None:
    mixture = FlowMixture([MODELS["iaf-2"](), MODELS["iaf-2"]()])
    mixture.save_pretrained(tmp_path)
    x = randn(5, 2)
    assert torch.equal(FlowMixture.from_pretrained(tmp_path)().log_prob(x), mixture().log_prob(x))


def test_small_numbers_survive() -> None:
    """That weights are looked at changes none of them."""
    model = MODELS["iaf-2"]()
    twin = MODELS["iaf-2"]()
    twin.load_state_dict(model.state_dict())
    assert_close(_numbers(twin), _numbers(model), 0.0)
