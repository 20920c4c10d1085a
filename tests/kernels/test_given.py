"""Chains at one context, whose constant units are computed once, against the same in PyTorch."""

from __future__ import annotations

import pytest
import torch

from invflow.conditioners import ACTIVATIONS, MADE
from invflow.kernels.cpu import chain, given
from invflow.transforms import Autoregressive, Compose
from invflow.univariate import Affine, Spline, Univariate
from tests.helpers import assert_close, generator, perturbed, randn

CASES = {
    "one feature": (1, (6, 4), {}),
    "two": (2, (7, 7), {}),
    "three, residual": (3, (10, 10, 10), {"residual": True}),
    "five, narrow": (5, (3, 9), {}),
    "five, of two units": (5, (2,), {"skip": True}),
    "no hidden layer": (4, (), {}),
    "groups": (7, (11, 8), {"group": (3, 1, 3)}),
    "one group": (3, (5, 5), {"group": 3}),
}


def _build(
    features: int,
    hidden: tuple[int, ...],
    options: dict[str, object],
    map: Univariate,
    inverse: str,
) -> Compose:
    parts = [
        Autoregressive(
            MADE(features, map.start, hidden, 2, generator=generator(seed), **options),
            map,
            order=torch.randperm(features, generator=generator(seed)),
            inverse=inverse,
        )
        for seed in range(3)
    ]
    return perturbed(Compose(parts))


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The layouts that kernels run with; whatever the batch, constants are left out."""
    found: list[object] = []
    original = chain.Chain.__init__

    def init(self: chain.Chain, layout: object, *rest: object) -> None:
        found.append(layout)
        original(self, layout, *rest)

    monkeypatch.setattr(given, "ROWS", 0)
    monkeypatch.setattr(chain.Chain, "__init__", init)
    return found


@pytest.mark.parametrize("map", [Affine(bound=2.0), Spline(bins=3)], ids=repr)
@pytest.mark.parametrize("case", CASES)
def test_constants_change_nothing(case: str, map: Univariate, layouts: list[object]) -> None:
    features, hidden, options = CASES[case]
    kernels, pytorch = (_build(features, hidden, options, map, way) for way in ("auto", "cached"))
    value, context = randn(5, features), randn(2, seed=1)
    for one, other in ((kernels, pytorch), (kernels.inverse, pytorch.inverse)):
        layouts.clear()
        with torch.no_grad():
            found = one(value, context)
            assert_close(found, other(value, context), 1e-10)
        (layout,) = layouts
        assert isinstance(layout, given.GivenLayout)
        assert all(0 not in degrees for degrees in layout.degrees[1:-1])
        # With a gradient, the units are kept: constants have gradients too.
        assert_close(found, one(value, context), 1e-10)
        assert not isinstance(layouts[-1], given.GivenLayout)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_constants_have_their_activation(activation: str, layouts: list[object]) -> None:
    build = (
        _build(3, (7, 5), {"activation": activation}, Affine(), way) for way in ("auto", "cached")
    )
    value, context = randn(5, 3), randn(2, seed=1)
    with torch.no_grad():
        kernels, pytorch = (each(value, context) for each in build)
    assert_close(kernels, pytorch, 1e-10)


def test_single_precision_and_frozen_parameters(layouts: list[object]) -> None:
    flow = _build(4, (9, 9), {}, Affine(), "auto").float().requires_grad_(False)
    value, context = randn(6, 4).float(), randn(2, seed=1).float()
    found = flow(value, context)
    assert isinstance(layouts[-1], given.GivenLayout)
    assert found[0].dtype is torch.float32
    exact = flow.double()(value.double(), context.double())
    assert_close([each.double() for each in found], list(exact), 1e-5)


def test_several_contexts_and_few_rows_keep_all_units(
    layouts: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, value = _build(3, (7, 7), {}, Affine(), "auto"), randn(6, 3)
    with torch.no_grad():
        flow(value, randn(6, 2, seed=1))
        monkeypatch.setattr(given, "ROWS", 3)
        flow(value, randn(2, seed=1))
    assert not any(isinstance(layout, given.GivenLayout) for layout in layouts)


def test_damaged_tensors_are_named(layouts: list[object]) -> None:
    for change, message in (
        (lambda made: made.weight.untyped_storage().resize_(0), "weight of shape .* needs"),
        (
            lambda made: setattr(made.weight, "data", made.weight.data[:-1]),
            r"weight must be of shape \(\d+,\)",
        ),
    ):
        flow = _build(3, (5,), {}, Affine(), "auto")
        change(flow.transforms[1].conditioner)
        with torch.no_grad(), pytest.raises(ValueError, match=message):
            flow(randn(4, 3), randn(2))
