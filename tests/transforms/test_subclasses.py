"""Subclasses: those that compute nothing of their own lose no speed, the others are obeyed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from invflow import kernels
from invflow.conditioners import CONDITIONERS, LSTM, MADE, Attention, CachedConditioner
from invflow.conditioners import MaskedConvolution as Convolution
from invflow.kernels.cpu import eager
from invflow.transforms import Autoregressive, Compose, Preconditioner
from invflow.univariate import Affine, Gated
from tests.helpers import assert_close, generator, gradients, perturbed, randn

KINDS: dict[type[CachedConditioner], dict[str, Any]] = {
    MADE: {},
    LSTM: {},
    Attention: {},
    Convolution: {"shape": (1, 2, 2)},
}


def _subclass(kind: type, **body: Any) -> type:
    return type("Mine", (kind,), body)


def _made(kind: type, **options: Any) -> Any:
    return kind(4, (0.0, 0.0), (8,), generator=generator(1), **options)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_one_that_changes_nothing_is_as_quick(kind: type[CachedConditioner]) -> None:
    def labelled(self: nn.Module) -> str:
        return "mine"

    def __init__(self: nn.Module, *arguments: Any, **options: Any) -> None:  # noqa: N807
        kind.__init__(self, *arguments, **options)
        self.more = 3

    silent = {"extra_repr": labelled, "__init__": __init__, "told": labelled, "__doc__": "Mine."}
    mine = _subclass(kind, **silent)
    plain, other = (Autoregressive(_made(each, **KINDS[kind])) for each in (kind, mine))
    assert other.method == plain.method
    assert plain.method is not None
    assert other.kernel == plain.kernel == other.joins
    assert (plain.kernel is not None) == (kind is MADE)
    other.load_state_dict(plain.state_dict())
    x = randn(5, 4).float()
    assert all(map(torch.equal, other.inverse(x), plain.inverse(x)))


def _twice(name: str) -> Callable[..., Any]:
    """Return a method that gives twice what the parent's gives."""

    def method(self: MADE, *arguments: Any) -> Any:
        found = getattr(super(type(self), self), name)(*arguments)
        if isinstance(found, Tensor):
            return 2 * found
        return type(found)(2 * each for each in found)

    return method


#: What a subclass of `MADE` may compute in another way.
OTHERS: dict[str, Any] = {
    "forward": _twice("forward"),
    "__call__": _twice("__call__"),
    "shift": _twice("shift"),
    "offset": _twice("offset"),
    "_masks": _twice("_masks"),
    "weights": property(lambda self: tuple(2 * each for each in MADE.weights.fget(self))),
    "biases": property(lambda self: tuple(each + 1 for each in MADE.biases.fget(self))),
}


@pytest.mark.parametrize("inverse", ["auto", "fixed_point"])
@pytest.mark.parametrize("name", OTHERS)
def test_one_that_computes_something_of_its_own_is_obeyed(name: str, inverse: str) -> None:
    mine, parent = _made(_subclass(MADE, **{name: OTHERS[name]}), context=2), _made(MADE, context=2)
    mine.load_state_dict(parent.state_dict())
    slow = pytest.warns(
        RuntimeWarning, match=f"^Mine, which has a {name} of its own, may compute something else"
    )
    with slow if inverse == "auto" else nullcontext():
        transform = perturbed(Autoregressive(mine, inverse=inverse), scale=0.2)
    reference = Autoregressive(mine, inverse="passes")
    assert transform.method is None
    assert transform.kernel is None
    z, context = randn(5, 4), randn(5, 2, seed=3)
    shift = mine(z, context)[..., 0]
    x, ladj = transform(z, context)
    assert_close((x - shift) / z, torch.exp(_scale(mine(z, context))), 1e-8)
    assert_close(transform.inverse(x, context), (z, -ladj), 1e-8)
    assert_close(transform.inverse(x, context), reference.inverse(x, context), 1e-10)
    parent.double().load_state_dict(mine.state_dict())
    assert (parent(z, context) - mine(z, context)).abs().max() > 1e-3


def _scale(params: Tensor) -> Tensor:
    return 5.0 * torch.tanh(params[..., 1] / 5.0)


@pytest.mark.parametrize("inverse", ["compiled", "cached"])
@pytest.mark.parametrize("name", [*OTHERS, "pack", "tensors", "vectors", "constants", "plan_from"])
def test_asked_for_by_name_it_is_told_why_not(name: str, inverse: str) -> None:
    mine = _made(_subclass(MADE, **{name: OTHERS.get(name, getattr(MADE, name))}))
    with pytest.raises(ValueError, match=f"got Mine, which has a {name} of its own"):
        Autoregressive(mine, inverse=inverse)


def test_a_name_of_its_own_vouches_for_its_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = _subclass(MADE, forward=lambda self, z, context=None: MADE.forward(self, z, context))
    assert Autoregressive(_made(mine), inverse="passes").method is None
    monkeypatch.setitem(CONDITIONERS, "mine", mine)
    assert Autoregressive(_made(mine)).method is not None


def test_parametrized_weights_are_read_as_they_are() -> None:
    """PyTorch makes a subclass with a property for them."""

    class Halved(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight / 2

    made = _made(MADE)
    parametrize.register_parametrization(made, "weight", Halved())
    assert type(made) is not MADE
    transform = perturbed(Autoregressive(made, inverse="compiled"))
    reference = Autoregressive(made, inverse="passes")
    z = randn(9, 4)
    for direction in ("forward", "inverse"):
        found, expected = (getattr(each, direction)(z) for each in (transform, reference))
        assert_close(found, expected, 1e-9)


def test_a_map_that_changes_nothing_is_as_quick() -> None:
    def map(base: type, **body: Any) -> Any:
        return type("Mine", (base,), body)()

    made = _made(MADE)
    assert kernels.serves(made, map(Affine, config=lambda self: {}, start=(0.0, 0.0)))
    assert not kernels.serves(made, map(Affine, forward=Affine.forward))
    assert not kernels.serves(made, map(Gated, inverse=Gated.inverse))
    with pytest.raises(ValueError, match=r'inverse="compiled" needs .* got MADE and '):
        Autoregressive(made, map(Affine, forward=Affine.forward), inverse="compiled")


def test_a_map_of_other_parameters_is_not_the_kernels() -> None:
    """A third parameter that a method of its own would read."""
    map = type("Mine", (Affine,), {"start": (0.0, 0.0, 0.0)})()
    made = MADE(4, map.start, (8,))
    assert not kernels.serves(made, map)
    with pytest.raises(ValueError, match="too many values to unpack"):
        Autoregressive(made, map)(randn(5, 4).float())


def test_a_conditioner_that_fails_leaves_the_one_before() -> None:
    class Unfinished(CachedConditioner):
        forward = pack = plan_from = MADE.forward

    transform = Autoregressive(_made(MADE))
    before = transform.conditioner, transform.method
    with pytest.raises(AttributeError, match="plan"):
        transform.conditioner = Unfinished(4, 2, 0)
    assert (transform.conditioner, transform.method) == before


class Told(Autoregressive):
    """A subclass that computes nothing of its own."""

    def extra(self) -> str:
        return "mine"


class Shifted(Autoregressive):
    """A subclass that does."""

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, ladj = super()._forward(z, context)
        return x + 1, ladj

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return super()._inverse(x - 1, context)


class Restored(Autoregressive):
    """A subclass whose own step the kernels would not take."""

    def _restored(self, values: Tensor) -> Tensor:
        return 2 * super()._restored(values)


@pytest.mark.parametrize("inverse", ["auto", "cached", "passes"])
def test_steps_of_its_own_are_taken(inverse: str) -> None:
    own, plain = (kind(_made(MADE), inverse=inverse) for kind in (Restored, Autoregressive))
    value = randn(5, 4).float()
    assert own.kernel is None
    for direction in ("forward", "inverse"):
        found, expected = (getattr(each, direction)(value)[0] for each in (own, plain))
        torch.testing.assert_close(found, 2 * expected)
    with pytest.raises(ValueError, match="needs the _restored of Autoregressive, got Restored"):
        Restored(_made(MADE), inverse="compiled")


def _halved(self: Preconditioner, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    value, ladj = Preconditioner._inverse(self, x, context)  # pyright: ignore[reportPrivateUsage]
    return 0.5 * value, ladj - self.features * math.log(2)


def _doubled(self: Preconditioner, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    value, ladj = Preconditioner._forward(self, 2 * z, context)  # pyright: ignore[reportPrivateUsage]
    return value, ladj + self.features * math.log(2)


def test_scores_are_those_of_the_directions_that_a_subclass_has() -> None:
    mine = _subclass(Preconditioner, _forward=_doubled, _inverse=_halved)(3)
    mine.set(torch.zeros(3), torch.tensor([[1.0, 0, 0], [2, 3, 0], [4, 5, 6]]))
    z = randn(5, 3).float()
    pushed = mine.push(z, -z)[2]
    torch.testing.assert_close(pushed, -z @ torch.linalg.inv(2 * mine.scale))


def test_hooks_take_part_in_scores() -> None:
    plain = perturbed(Autoregressive(_made(MADE)))
    hooked = Compose([plain, copy.deepcopy(plain)])
    hooked.transforms[1].register_forward_hook(
        lambda _, inputs, outputs: (2 * outputs[0], outputs[1])
    )
    z = randn(5, 4)
    assert_close(hooked.push(z, -z)[0], hooked(z)[0])
    assert (hooked(z)[0] - Compose([plain, plain])(z)[0]).abs().max() > 0.1


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many transforms each call of the kernels takes."""
    found: list[int] = []
    run = eager.run

    def counting(kind: kernels.Kind, links: Sequence[kernels.Link], *rest: Any) -> Any:
        found.append(len(links))
        return run(kind, links, *rest)

    monkeypatch.setattr(eager, "run", counting)
    return found


@pytest.mark.parametrize("inverse", [False, True])
def test_transforms_that_compute_nothing_of_their_own_are_joined(
    inverse: bool, taken: list[int]
) -> None:
    parts = [kind(_made(MADE)) for kind in (Autoregressive, Told, Shifted, Told, Told)]
    flow = perturbed(Compose(parts))
    value = randn(5, 4)
    found = (flow.inverse if inverse else flow)(value)
    assert taken == ([2, 1, 2])
    for part in parts[::-1] if inverse else parts:
        value, _ = (part.inverse if inverse else part)(value)
    assert_close(found[0], value, 1e-11)


def _turn(made: MADE) -> None:
    """Let the weights be a view with another sign, which their address does not tell."""
    made.weight = nn.Parameter(torch._neg_view(-made.weight.data))


#: What keeps one of several transforms from being joined, or from the kernels.
ODD: dict[str, tuple[Callable[[Autoregressive], Any], list[int]]] = {
    "hook of the transform": (
        lambda part: part.register_forward_hook(lambda *_: None),
        [2, 1, 2],
    ),
    "an inverse of its own": (
        lambda part: setattr(part, "inverse", part.inverse),
        [2, 1, 2],
    ),
    "hook of the network": (
        lambda part: part.conditioner.register_forward_hook(lambda *_: None),
        [1, 1, 1, 1],
    ),
    "weights of another kind": (lambda part: _turn(part.conditioner), [1, 1, 1, 1]),
    "another inverse": (lambda part: setattr(part, "inverse_method", "cached"), [2, 2]),
}


@pytest.mark.parametrize(("change", "expected"), ODD.values(), ids=ODD)
def test_an_odd_one_among_them_does_not_break_the_others(
    change: Callable[[Autoregressive], Any], expected: list[int], taken: list[int]
) -> None:
    flow = perturbed(Compose([Autoregressive(_made(MADE)) for _ in range(5)]))
    x = randn(5, 4).requires_grad_()
    wanted = [*flow(x)]
    wanted += gradients(*wanted, [x, *flow.parameters()])
    taken.clear()
    change(flow.transforms[2])
    found = [*flow(x)]
    found += gradients(*found, [x, *flow.parameters()])
    assert_close(found, wanted, 1e-10)
    assert taken == expected
