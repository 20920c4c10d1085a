"""Flows on PyTorch's meta device and of its fake tensors, which have shapes but no values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from invflow.flows import build
from invflow.flows.named import Named
from invflow.transforms import ActNorm, BatchNorm, Circles, Coupling, LULinear, Permutation
from tests.helpers import context_for, perturbed, randn, values

#: What those flows need that do not go by features alone.
ARGUMENTS: dict[str, dict[str, object]] = {
    "preconditioned": {"flow": {"name": "iaf", "features": 3, "order": "random"}},
    "wrapped": {"flow": {"name": "nsf", "features": 3}, "angles": [0, 2]},
    "tarflow": {"shape": (3, 1, 1), "patch": 1, "hidden_features": (8,)},
    "tariaf": {"shape": (1, 1, 3), "patch": 1, "hidden_features": (8,)},
    "mixture": {"flows": [{"name": "iaf", "features": 3}, {"name": "umnn", "features": 3}]},
}
NAMES = sorted(name for name, kind in Named.kinds().items() if kind.__module__[:7] == "invflow")
names = pytest.mark.parametrize("name", NAMES)
#: By features, with every conditioner and with the orders that are drawn.
CONDITIONERS: dict[str, dict[str, object]] = {
    "made": {"norm": True, "order": "random"},
    "lstm": {"conditioner": "lstm", "hidden_features": (4,)},
    "attention": {"conditioner": "attention", "hidden_features": (8,)},
    "convolution": {"conditioner": "convolution", "shape": (3, 1, 1)},
}


def _made(name: str) -> Named:
    return build(name, **ARGUMENTS.get(name, {"features": 3}))


def _check_moved(make: Callable[[], Named]) -> None:
    """Check that what is made without values is what is made with them, once these are loaded."""
    with torch.device("meta"):
        flow = make()
    tensors = [*flow.parameters(), *flow.buffers()]
    assert tensors
    assert all(tensor.is_meta for tensor in tensors)
    whole = perturbed(make(), scale=0.2).float().eval()
    flow.to_empty(device="cpu").eval().load_state_dict(whole.state_dict())
    x = 0.1 * randn(5, 3).float()
    assert torch.equal(flow().log_prob(x), whole().log_prob(x))


@names
def test_made_on_meta_and_loaded(name: str) -> None:
    _check_moved(lambda: _made(name))


@pytest.mark.parametrize("conditioner", CONDITIONERS)
def test_every_conditioner_made_on_meta_and_loaded(conditioner: str) -> None:
    _check_moved(lambda: build("iaf", features=3, **CONDITIONERS[conditioner]))


def _check_fake(make: Callable[[], Named]) -> None:
    with FakeTensorMode():
        flow = make()
        x = flow().sample((5,))
        log_prob = flow(validate_args=False).log_prob(x)
    assert isinstance(log_prob, FakeTensor)
    assert (x.shape, log_prob.shape) == ((5, 3), (5,))
    whole = {key: (value.shape, value.dtype) for key, value in make().state_dict().items()}
    found = flow.state_dict()
    assert all(isinstance(value, FakeTensor) for value in found.values())
    assert {key: (value.shape, value.dtype) for key, value in found.items()} == whole


@names
def test_made_of_fake_tensors(name: str) -> None:
    _check_fake(lambda: _made(name))


@pytest.mark.parametrize("conditioner", CONDITIONERS)
def test_every_conditioner_made_of_fake_tensors(conditioner: str) -> None:
    _check_fake(lambda: build("maf", features=3, **CONDITIONERS[conditioner]))


TRANSFORMS = {
    "actnorm": lambda: ActNorm(3),
    "batchnorm": lambda: BatchNorm(3),
    "circles": lambda: Circles(3, [1]),
    "coupling": lambda: Coupling(3, mask=[True, False, False]),
    "lu-random": lambda: LULinear(3, "random"),
    "lu-reverse": lambda: LULinear(3, "reverse"),
    "permutation": lambda: Permutation(torch.randperm(3)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_without_values(name: str) -> None:
    with torch.device("meta"):
        transform = TRANSFORMS[name]()
    whole = TRANSFORMS[name]().eval()
    transform.to_empty(device="cpu").eval().load_state_dict(whole.state_dict())
    z = values(whole, "forward", 5).float()
    assert torch.equal(transform(z, context_for(whole, 5))[0], whole(z)[0])
    with FakeTensorMode():
        assert TRANSFORMS[name]().eval()(torch.zeros(5, 3))[0].shape == (5, 3)


def test_what_cannot_be_known_without_values_is_said() -> None:
    with pytest.raises(ValueError, match=r"^mask must have values, got a tensor on meta"):
        Coupling(3, mask=torch.ones(3, dtype=torch.bool, device="meta"))
    with pytest.raises(ValueError, match=r"^order must be a permutation of 0 .. 1, got shape"):
        Permutation(torch.zeros(2, 1, dtype=torch.long, device="meta"))


def test_an_actnorm_that_has_started_is_loaded_without_values() -> None:
    whole = ActNorm(3)
    whole.inverse(randn(5, 3).float())
    values = whole.state_dict()
    with FakeTensorMode() as mode:
        transform = ActNorm(3)
        state = {key: mode.from_tensor(value) for key, value in values.items()}
        transform.load_state_dict(state)
        assert isinstance(transform.started, FakeTensor)
