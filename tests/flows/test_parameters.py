"""A distribution stands for the parameters that the flow had when it was called."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.utils import parametrizations, prune

from invflow import IAF, MAF, Flow, flows
from invflow.flows import FlowMixture, Preconditioned
from invflow.transforms import BatchNorm, Compose
from tests.helpers import (
    FLOWS,
    INVERSES,
    assert_close,
    context_for,
    flow,
    generator,
    perturbed,
    randn,
)

_LARGE = [name for name in FLOWS if "65" in name]


def _mixture() -> FlowMixture:
    parts = [FLOWS["iaf-2"](), flow(MAF, 2, 0, 2, (4,))()]
    return perturbed(FlowMixture(parts), scale=0.3)


def _nested() -> Flow:
    return flow(IAF, 2, 0, 2, (5,), base={"name": "flow", "flow": {"name": "maf", "features": 2}})()


def _preconditioned() -> Flow:
    outer = Preconditioned(FLOWS["iaf-2"]())
    outer.set(torch.ones(2).double(), torch.eye(2).double() * 2)
    return outer


def _based(base: object) -> Callable[[], Flow]:
    return flow(IAF, 2, 0, 2, (5,), base=base)


#: Whatever can be called for a distribution.
MODELS: dict[str, Callable[[], Flow | FlowMixture]] = {
    **{name: build for name, build in FLOWS.items() if name not in _LARGE},
    "mixture": _mixture,
    "nested": _nested,
    "preconditioned": _preconditioned,
    "diagonal-base": _based("diagonal"),
    "full-base": _based("full"),
    "mixture-base": _based({"name": "mixture", "components": ["diagonal", "full"]}),
    "checkpoint": flow(IAF, 3, 0, 3, (6,), checkpoint=True),
    "norm": flow(IAF, 3, 0, 2, (8, 8), norm=True),
}
models = pytest.mark.parametrize("name", MODELS)


def _other(model: nn.Module, seed: int = 8) -> dict[str, Tensor]:
    """Return other parameters for a model."""
    source = generator(seed)
    return {
        name: each.detach() + 0.1 * torch.randn(each.shape, generator=source, dtype=each.dtype)
        for name, each in model.named_parameters()
    }


def _with(model: nn.Module, parameters: dict[str, Tensor]) -> nn.Module:
    twin = copy.deepcopy(model)
    twin.load_state_dict(parameters, strict=False)
    return twin


def _data(model: Flow | FlowMixture) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return data, inside the support, and the context as arguments."""
    context = context_for(model, 5)
    contexts = () if context is None else (context,)
    return model(*contexts).sample((), generator=generator(3)) if contexts else model().sample(
        (5,), generator=generator(3)
    ), contexts


@models
def test_functional_call_is_a_model_with_these_parameters(name: str) -> None:
    model = MODELS[name]()
    x, contexts = _data(model)
    parameters = {k: v.requires_grad_() for k, v in _other(model).items()}
    twin = _with(model, {k: v.detach() for k, v in parameters.items()})
    q, expected = functional_call(model, parameters, contexts), twin(*contexts)
    log_q, wanted = q.log_prob(x), expected.log_prob(x)
    assert torch.equal(log_q, wanted)
    drawn = [each.sample((3,), generator=generator(4)) for each in (q, expected)]
    assert torch.equal(*drawn)
    if q.has_rsample:
        pairs = [each.rsample_and_log_prob((3,), generator=generator(4)) for each in (q, expected)]
        assert_close(pairs[0], pairs[1], 1e-12)
    assert_close(q.expand((2, *log_q.shape)).log_prob(x), wanted.expand(2, *wanted.shape), 1e-12)
    found = torch.autograd.grad(log_q.sum(), list(parameters.values()), allow_unused=True)
    gradients = torch.autograd.grad(wanted.sum(), list(twin.parameters()), allow_unused=True)
    for mine, theirs in zip(found, gradients, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert_close(mine, theirs, 1e-12)
    # And the model itself is as it was.
    fresh = MODELS[name]()
    assert torch.equal(model(*contexts).log_prob(x), fresh(*contexts).log_prob(x))


@pytest.mark.parametrize("name", ["iaf-2", "maf-2-context", "nsf-3-context", "realnvp-8", "nested"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_ensemble(name: str, device: str) -> None:
    """Stacked parameters, as in PyTorch's tutorial, where the model itself may hold no numbers."""
    model = MODELS[name]()
    members = [_with(model, _other(model, seed)) for seed in (1, 2, 3)]
    x, contexts = _data(model)
    parameters, buffers = stack_module_state(members)
    skeleton = copy.deepcopy(model).to(device)

    def log_prob(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return functional_call(skeleton, (parameters, buffers), contexts).log_prob(x)

    found = vmap(log_prob)(parameters, buffers)
    assert_close(found, torch.stack([each(*contexts).log_prob(x) for each in members]), 1e-10)
    gradients = vmap(grad(lambda *state: log_prob(*state).sum()))(parameters, buffers)
    for i, member in enumerate(members):
        names = [k for k, _ in member.named_parameters()]
        total = member(*contexts).log_prob(x).sum()
        wanted = torch.autograd.grad(total, list(member.parameters()), allow_unused=True)
        for key, each in zip(names, wanted, strict=True):
            if each is not None:
                assert_close(gradients[key][i], each, 1e-8)


def test_tied_parametrised_and_pruned_weights() -> None:
    model = FLOWS["iaf-2"]()
    first, second = (model.transform.transforms[i].conditioner for i in (0, 1))
    second.bias = first.bias
    parametrizations.weight_norm(first, "weight", dim=None)
    prune.random_unstructured(second, "weight", 0.3)
    x, _ = _data(model)
    parameters = _other(model)
    twin = _with(model, parameters)
    assert_close(functional_call(model, parameters, ()).log_prob(x), twin().log_prob(x), 1e-10)
    plain = twin().log_prob(x)
    transform = twin.transform
    for part in transform.transforms:
        part.inverse_method = "passes"
    assert_close(twin().log_prob(x), plain, 1e-9)


@pytest.mark.parametrize("inverse", ["auto", *INVERSES])
def test_pruned_weights_are_those_of_now(inverse: str) -> None:
    """Pruning sets the weights when the conditioner is called, so that it has to be."""
    model = flow(IAF, 3, 0, 1, (8,), inverse=inverse)()
    conditioner = model.transform.transforms[0].conditioner
    prune.random_unstructured(conditioner, "weight", 0.3)
    x = randn(5, 3)
    with torch.no_grad():
        conditioner.weight_orig.mul_(0.5)
    z, _ = model.transform.inverse(x)
    assert_close(model.transform(z)[0], x)
    assert_close(model().log_prob(x), model().base.log_prob(z) - model.transform(z)[1])


def test_buffers_are_the_calls_own_too() -> None:
    transform = Compose([FLOWS["iaf-2"]().transform, BatchNorm(2).double()])
    model = Flow(transform).double().eval()
    buffers = {"transform.transforms.1.running_mean": torch.ones(2).double()}
    x = randn(5, 2)
    found = functional_call(model, buffers, ()).log_prob(x)
    assert_close(found, model().log_prob(x - 1), 1e-12)


def test_steps_of_an_optimizer_are_seen() -> None:
    model = FLOWS["iaf-2"]()
    q, x = model(), randn(5, 2)
    before = q.log_prob(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    assert_close(q.log_prob(x), model().log_prob(x), 1e-13)
    assert (q.log_prob(x) - before).abs().max() > 1e-3


def test_a_distribution_goes_where_the_flow_goes() -> None:
    model = _preconditioned().float()
    q, x = model(), randn(5, 2)
    model.double()
    assert_close(q.log_prob(x), model().log_prob(x), 1e-13)


def test_a_flow_that_is_put_together_anew_refuses() -> None:
    model = FLOWS["iaf-2"]()
    q = functional_call(model, _other(model), ())
    model.transform.transforms.append(FLOWS["iaf-2"]().transform)
    with pytest.raises(RuntimeError, match="call the flow again"):
        q.log_prob(randn(5, 2))


def test_a_copy_has_parameters_of_its_own() -> None:
    model = FLOWS["iaf-2"]()
    model()  # what it remembers of itself is not the copy's
    twin, x = copy.deepcopy(model), randn(5, 2)
    q = twin()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert_close(q.log_prob(x), FLOWS["iaf-2"]()().log_prob(x), 1e-13)


def test_pyro() -> None:
    pytest.importorskip("pyro")
    model = FLOWS["iaf-3-gated-context"]()
    context, x, parameters = randn(5, 2), randn(5, 3), _other(model)
    q = flows.to_pyro(functional_call(model, parameters, (context,)))
    expected = _with(model, parameters)(context).log_prob(x)
    assert_close(q.log_prob(x), expected, 1e-13)
    assert_close(q.expand((2, 5)).log_prob(x), expected.expand(2, 5), 1e-13)


def test_gradients_of_checkpointed_transforms_are_of_the_calls_parameters() -> None:
    model = flow(IAF, 3, 0, 3, (6,), checkpoint=True)()
    parameters = {k: v.requires_grad_() for k, v in _other(model).items()}
    twin, z = _with(model, {k: v.detach() for k, v in parameters.items()}), randn(5, 3)

    class Map(nn.Module):
        def __init__(self, model: Flow) -> None:
            super().__init__()
            self.model = model

        def forward(self, z: Tensor) -> Tensor:
            return self.model.transform(z)[0]

    given = {f"model.{k}": v for k, v in parameters.items()}
    found = functional_call(Map(model), given, (z,))
    wanted = twin.transform(z)[0]
    mine = torch.autograd.grad(found.square().sum(), list(parameters.values()))
    theirs = torch.autograd.grad(wanted.square().sum(), list(twin.parameters()))
    for a, b in zip(mine, theirs, strict=True):
        assert_close(a, b, 1e-12)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_compiled() -> None:
    model, x = FLOWS["maf-2-context"](), randn(5, 2)
    context, parameters = randn(5, 1), _other(model)
    compiled = torch.compile(
        lambda state, x: functional_call(model, state, (context,)).log_prob(x), backend="eager"
    )
    expected = _with(model, parameters)(context).log_prob(x)
    assert_close(compiled(parameters, x), expected, 1e-12)
