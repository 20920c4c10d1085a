"""All inverses of an autoregressive transform are one function."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from invflow.conditioners import ACTIVATIONS
from invflow.transforms import Autoregressive
from invflow.univariate import UNIVARIATES
from tests.helpers import (
    AUTOREGRESSIVE,
    BATCHES,
    INVERSES,
    INVERTED,
    SinhArcsinh,
    assert_close,
    context_for,
    gradients,
    inverses,
    made,
    over,
    perturbed,
    preserves_volume,
    randn,
)

transforms = pytest.mark.parametrize("name", AUTOREGRESSIVE)
each_inverse = pytest.mark.parametrize("inverse", INVERSES)
TOLERANCE = 1e-8


def _inputs(
    transform: Autoregressive, batch: tuple[int, ...]
) -> tuple[Tensor, Tensor | None, list[Tensor]]:
    """Return data, context, and all that a gradient can be taken to."""
    context = context_for(transform, *batch)
    z = randn(*batch, transform.features)
    x = transform(z, context)[0].detach().requires_grad_()
    if context is not None:
        context.requires_grad_()
    tensors = [tensor for tensor in (x, context) if tensor is not None]
    return x, context, [*tensors, *transform.parameters()]


def _agree(
    build: dict[str, Autoregressive], batch: tuple[int, ...], of: Sequence[str] = ("both",)
) -> None:
    found = {}
    for inverse, transform in build.items():
        x, context, tensors = _inputs(transform, batch)
        z, ladj = transform.inverse(x, context)
        slopes = {each: gradients(z, ladj, tensors, each, retain_graph=True) for each in of}
        found[inverse] = (z.detach(), ladj.detach(), slopes)
    reference = found.pop("passes")
    for result in found.values():
        assert_close(result, reference, TOLERANCE)
    # Agreement on nothing would be none.
    for slopes in reference[2].values():
        assert any(gradient.abs().max() > 1e-6 for gradient in slopes)


@transforms
def test_values_and_gradients_agree(name: str) -> None:
    constant = preserves_volume(AUTOREGRESSIVE[name]())
    of = ("both", "value") if constant else ("both", "value", "ladj")
    _agree({inverse: AUTOREGRESSIVE[name](inverse) for inverse in inverses(name)}, (5,), of)


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_values_and_gradients_agree_for_any_batch(batch: tuple[int, ...]) -> None:
    name = "made-3-context/gated/random"
    _agree({inverse: AUTOREGRESSIVE[name](inverse) for inverse in inverses(name)}, batch)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_gradients_agree_for_each_activation(activation: str, residual: bool) -> None:
    def build(inverse: str) -> Autoregressive:
        conditioner = made(4, (5, 5), context=2, activation=activation, residual=residual)
        network = conditioner((0.0, 0.0))
        return perturbed(Autoregressive(network, order=[2, 0, 3, 1], inverse=inverse))

    _agree({inverse: build(inverse) for inverse in INVERSES}, (5,))


def test_own_univariate_map_works_in_every_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UNIVARIATES, "sinh-arcsinh", SinhArcsinh)

    def build(inverse: str) -> Autoregressive:
        map = SinhArcsinh(skew=0.1)
        network = made(4, (6,), context=2)(map.start)
        return perturbed(Autoregressive(network, map, order=[2, 0, 3, 1], inverse=inverse))

    _agree({inverse: build(inverse) for inverse in INVERSES[1:]}, (5,))
    transform = build("cached")
    z, context = randn(5, 4), context_for(transform, 5)
    x, ladj = transform(z, context)
    assert_close(transform.inverse(x, context), (z, -ladj))


@pytest.mark.parametrize(("name", "inverse"), INVERTED)
def test_inverse_undoes_forward(name: str, inverse: str) -> None:
    transform = AUTOREGRESSIVE[name](inverse)
    z, context = randn(5, transform.features), context_for(transform, 5)
    with torch.no_grad():
        x, ladj = transform(z, context)
        assert_close(transform.inverse(x, context), (z, -ladj))


@each_inverse
def test_gradient_to_some_of_the_inputs_only(inverse: str) -> None:
    """A posterior's parameters frozen, or its samples detached: the rest is as before."""
    transform = AUTOREGRESSIVE["made-3-context/gated/random"](inverse)
    x, context, tensors = _inputs(transform, (5,))
    everything = gradients(*transform.inverse(x, context), tensors)
    transform.requires_grad_(False)
    assert context is not None
    for i, tensor in enumerate((x, context)):
        x.requires_grad_(tensor is x)
        context.requires_grad_(tensor is context)
        (alone,) = gradients(*transform.inverse(x, context), [tensor])
        assert_close(alone, everything[i], 1e-12)
    bias = next(i for i, p in enumerate(transform.parameters()) if p.ndim == 1)
    list(transform.parameters())[bias].requires_grad_()
    (alone,) = gradients(
        *transform.inverse(x.detach(), context.detach()), [list(transform.parameters())[bias]]
    )
    assert_close(alone, everything[2 + bias], 1e-12)


@each_inverse
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_stays_so_and_stays_alone(inverse: str, bad: float) -> None:
    transform = AUTOREGRESSIVE["made-3-context/gated/random"](inverse)
    x, context = randn(5, 3), context_for(transform, 5)
    clean_z, clean_ladj = transform.inverse(x, context)
    spoiled = x.clone()
    spoiled[2, 0] = bad
    z, ladj = transform.inverse(spoiled, context)
    others = [0, 1, 3, 4]
    assert_close((z[others], ladj[others]), (clean_z[others], clean_ladj[others]))
    assert not torch.isfinite(z[2]).all()


@pytest.mark.parametrize("conditioner", ["made-8-wide", "made-65"])
def test_auto_on_a_cpu_is_a_sweep(conditioner: str) -> None:
    name = over(conditioner)
    build = AUTOREGRESSIVE[name]
    x = randn(5, build().features)
    auto, named = (build(inverse).inverse(x) for inverse in ("auto", inverses(name)[0]))
    assert torch.equal(auto[0], named[0])
    assert torch.equal(auto[1], named[1])
