"""What a transform is made of can be replaced by what fits, and the rest follows; or it cannot."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from invflow import IAF, Flow
from invflow.conditioners import LSTM, MADE, Attention
from invflow.flows import StandardNormal, StudentT
from invflow.flows.nested import FlowBase
from invflow.transforms import (
    Autoregressive,
    Compose,
    Coupling,
    Elementwise,
    Inverse,
    LULinear,
    Permutation,
)
from invflow.univariate import Additive, Affine, CircularSpline, Gated, Spline
from tests.helpers import (
    DIRECTIONS,
    FLOWS,
    INVERSES,
    TRANSFORMS,
    assert_close,
    directed,
    generator,
    gradients,
    perturbed,
    randn,
)

_ORDER = [2, 0, 1]


def _made(seed: int, hidden: int = 9, **options: Any) -> MADE:
    return perturbed(MADE(3, (0.0, 0.0), (hidden,), **options, generator=generator(seed)))


def _step(inverse: str, univariate: Any = "affine", network: Any = None) -> Autoregressive:
    return Autoregressive(network or _made(1), univariate, order=_ORDER, inverse=inverse)


def _agree(changed: Autoregressive, fresh: Autoregressive) -> None:
    """Check both directions and their gradients, alone and in a chain."""
    x = randn(7, 3).requires_grad_()
    parameters = [x, *fresh.parameters()]
    for one, other in ((changed, fresh), *((Compose([t, t]) for t in (changed, fresh)),)):
        for direction in DIRECTIONS:
            runs = [directed(each, direction)(x) for each in (one, other)]
            assert_close(runs[0], runs[1], 1e-9)
            mine = gradients(*runs[0], [x, *changed.parameters()])
            assert_close(mine, gradients(*runs[1], parameters), 1e-8)


@pytest.mark.parametrize("inverse", ["auto", *INVERSES])
@pytest.mark.parametrize("univariate", [Affine(bound=0.3), Gated(), "gated"], ids=repr)
def test_another_map(inverse: str, univariate: Any) -> None:
    transform = _step(inverse)
    transform.inverse(randn(7, 3))
    transform.univariate = univariate
    _agree(transform, _step(inverse, univariate))


@pytest.mark.parametrize("inverse", ["auto", *INVERSES])
@pytest.mark.parametrize("options", [{}, {"activation": "tanh"}, {"skip": True}], ids=repr)
def test_another_conditioner(inverse: str, options: dict[str, Any]) -> None:
    other = _made(2, 5, **options)
    transform = _step(inverse)
    transform.inverse(randn(7, 3))
    transform.conditioner = other
    _agree(transform, _step(inverse, network=other))


@pytest.mark.parametrize("inverse", ["auto", "cached", "fixed_point", "passes"])
@pytest.mark.parametrize("kind", [LSTM, Attention])
def test_a_conditioner_of_another_kind(inverse: str, kind: Callable[..., Any]) -> None:
    other = perturbed(kind(3, (0.0, 0.0), (8,), generator=generator(2)))
    transform = _step(inverse)
    transform.conditioner = other
    _agree(transform, _step(inverse, network=other))


def test_the_issues_value() -> None:
    """`univariate` was ignored by two of four inverses: -9260 instead of -21.7."""
    x = randn(7, 3) * 3
    found = []
    for inverse in INVERSES:
        flow = Flow(_step(inverse))
        flow.transform.univariate = Affine(bound=0.01)
        found.append(flow().log_prob(x).sum())
    assert_close(torch.stack(found), found[-1].expand(len(found)), 1e-10)


def test_another_inverse() -> None:
    transform, x = _step("auto"), randn(7, 3)
    expected = transform.inverse(x)
    for inverse in INVERSES:
        transform.inverse_method = inverse
        assert_close(transform.inverse(x), expected, 1e-10)


def test_another_order() -> None:
    transform = _step("auto")
    transform.order = torch.tensor([1, 2, 0])
    fresh = Autoregressive(transform.conditioner, order=[1, 2, 0])
    _agree(transform, fresh)
    transform.order = None
    _agree(transform, Autoregressive(transform.conditioner))


def test_a_copy_follows_its_own_parts() -> None:
    twin = copy.deepcopy(_step("auto"))
    twin.univariate = Gated()
    _agree(twin, _step("auto", Gated()))


@pytest.mark.parametrize("name", ["coupling-2", "elementwise-8-context", "coupling-3-context"])
def test_maps_of_other_transforms(name: str) -> None:
    transform = TRANSFORMS[name]()
    z, context = randn(5, transform.features), randn(5, 8)[:, : transform.context]
    context = context if transform.context else None
    for map in (Gated(gate=0.2), Affine(bound=0.2)):
        transform.univariate = map
        x, ladj = transform(z, context)
        back, back_ladj = transform.inverse(x, context)
        assert_close((back, back_ladj), (z, -ladj))
        jacobian = torch.autograd.functional.jacobian(
            lambda z: transform(z, None if context is None else context[0])[0], z[0]
        )
        assert_close(torch.linalg.slogdet(jacobian)[1], ladj[0])


def _built() -> Autoregressive:
    return _step("auto")


#: What is refused: on what, what is set, to what, and what is said.
REFUSED: dict[str, tuple[Callable[[], Any], str, Any, type[Exception], str]] = {
    "map-of-more": (_built, "univariate", Spline(bins=4), ValueError, "2 parameters.*11"),
    "map-of-fewer": (_built, "univariate", Additive(), ValueError, "2 parameters.*takes 1"),
    "map-unknown": (_built, "univariate", "cubic", ValueError, "cubic"),
    "map-no-map": (_built, "univariate", 3, TypeError, "univariate"),
    "conditioner-of-other-features": (
        _built, "conditioner", MADE(4, (0.0, 0.0)), ValueError, "features=3.*got 4",
    ),
    "conditioner-of-other-outputs": (
        _built, "conditioner", MADE(3, (0.0,)), ValueError, "outputs=2.*got 1",
    ),
    "conditioner-with-a-context": (
        _built, "conditioner", MADE(3, (0.0, 0.0), context=2), ValueError, "context=0.*got 2",
    ),
    "conditioner-none": (_built, "conditioner", None, TypeError, "Conditioner"),
    "conditioner-no-conditioner": (
        _built, "conditioner", torch.nn.Linear(3, 6), TypeError, "must be a Conditioner.*Linear",
    ),
    "inverse-unknown": (_built, "inverse_method", "magic", ValueError, "magic"),
    "tolerance-below-zero": (_built, "tolerance", -1e-3, ValueError, "at least 0, got -0.001"),
    "tolerance-not-a-number": (_built, "tolerance", "low", TypeError, "must be a number"),
    "inverse-that-it-has-not": (
        lambda: Autoregressive(MADE(3, (0.0, 0.0), norm=True)),
        "inverse_method", "compiled", ValueError, "without norm",
    ),
    "compiled-map": (
        lambda: _step("compiled"), "conditioner", MADE(3, (0.0, 0.0), norm=True),
        ValueError, "without norm",
    ),
    "order-no-permutation": (_built, "order", torch.tensor([0, 0, 1]), ValueError, "permutation"),
    "order-of-numbers": (_built, "order", torch.tensor([0.0, 1, 2]), TypeError, "integers"),
    "order-too-long": (_built, "order", torch.arange(4), ValueError, r"shape \(3,\), got \(4,\)"),
    "order-first-no-permutation": (
        lambda: Autoregressive(_made(1)), "order", torch.tensor([0, 0, 1]),
        ValueError, "permutation",
    ),
    "order-first-of-numbers": (
        lambda: Autoregressive(_made(1)), "order", torch.tensor([0.0, 1, 2]),
        ValueError, r"permutation of 0 .. 2, got \[0.0",
    ),
    "order-as-a-list": (_built, "order", [0, 1, 2], TypeError, "buffer 'order'"),
    "features": (_built, "features", 4, AttributeError, "be changed"),
    "context": (_built, "context", 4, AttributeError, "be changed"),
    "layout": (lambda: _made(1), "layout", _made(1, 4).layout, AttributeError, "be changed"),
    "plan": (lambda: _made(1), "plan", _made(1, 4).plan, AttributeError, "be changed"),
    "outputs": (lambda: _made(1), "outputs", 3, AttributeError, "be changed"),
    "heads": (lambda: Attention(3, (0.0,), (8,)), "heads", 2, AttributeError, "be changed"),
    "widths": (lambda: LSTM(3, (0.0,), (8,)), "widths", (4,), AttributeError, "be changed"),
    "kept": (lambda: Coupling(3), "kept", 1, AttributeError, "be changed"),
    "coupling-map": (lambda: Coupling(3), "univariate", Additive(), ValueError, "2 parameters"),
    "elementwise-map": (lambda: Elementwise(2), "univariate", Additive(), ValueError, "2 param"),
    "circles": (
        lambda: Elementwise(2, CircularSpline(bins=4)),
        "univariate", CircularSpline(bins=4, low=0.0, high=1.0), ValueError, "base",
    ),
    "permutation": (
        lambda: Permutation([1, 0]), "order", torch.tensor([1, 1]), ValueError, "permutation",
    ),
    "linear": (lambda: LULinear(2), "order", torch.tensor([1, 1]), ValueError, "permutation"),
    "inverse-of-others": (
        lambda: Inverse(Permutation([1, 0])), "transform", Permutation([0, 2, 1]),
        ValueError, "features=2.*got 3",
    ),
    "inverse-of-nothing": (
        lambda: Inverse(Permutation([1, 0])), "transform", 3, TypeError, "Transform",
    ),
    "flow-of-others": (
        lambda: IAF(2), "transform", Permutation([0, 2, 1]), ValueError, "features=2.*got 3",
    ),
    "base-of-others": (lambda: IAF(2), "base", StandardNormal(3), ValueError, "features=2"),
    "base-by-name": (lambda: IAF(2), "base", "normal", TypeError, "must be a Base"),
    "nested": (lambda: FlowBase(2, IAF(2)), "flow", IAF(3), ValueError, "features=2.*got 3"),
    "base-features": (lambda: StandardNormal(2), "features", 3, AttributeError, "be changed"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("build", "name", "value", "error", "message"), REFUSED.values(), ids=REFUSED
)
def test_what_does_not_fit_is_refused(
    build: Callable[[], Any], name: str, value: Any, error: type[Exception], message: str
) -> None:
    part = build()
    before = getattr(part, name)
    with pytest.raises(error, match=message):
        setattr(part, name, value)
    assert getattr(part, name) is before


def _on_base(flow: Flow) -> None:
    flow.base = StudentT(2, df=3.0).double()


def _on_map(flow: Flow) -> None:
    flow.transform.transforms[0].univariate = Affine(bound=0.1)


def _on_transform(flow: Flow) -> None:
    flow.transform = Permutation([1, 0])


def _on_list(flow: Flow) -> None:
    flow.transform.transforms[0] = Permutation([1, 0])


def _more(flow: Flow) -> None:
    flow.transform.transforms.append(Permutation([1, 0]))


def _on_bound(flow: Flow) -> None:
    parts = flow.transform.transforms
    parts[0] = Autoregressive(parts[0].conditioner, order=parts[0].order, input_bound=0.1)


@pytest.mark.parametrize("change", [_on_base, _on_map, _on_transform, _on_list, _more, _on_bound])
def test_what_the_configuration_would_not_rebuild_is_not_saved(change: Any, tmp_path: Any) -> None:
    flow, x = FLOWS["iaf-2"](), randn(5, 2)
    before = flow().log_prob(x)
    change(flow)
    assert (flow().log_prob(x) - before).abs().max() > 1e-3  # it is honoured
    with pytest.raises(ValueError, match=r"has been changed.*state_dict"):
        flow.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_notes_of_ones_own_and_other_inverses_are_no_change(tmp_path: Any) -> None:
    flow = FLOWS["iaf-2"]()
    flow.trained_on = "moons"
    flow.transform.transforms[0].conditioner.tag = torch.ones(2)
    flow.transform.transforms[0].inverse_method = "passes"
    state = torch.get_rng_state()
    flow.save_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    x = randn(5, 2)
    assert_close(Flow.from_pretrained(tmp_path)().log_prob(x), flow().log_prob(x), 1e-12)


def test_what_is_settled_may_be_said_again() -> None:
    conditioner = _made(1)
    conditioner.features = 3
    conditioner.layout = conditioner.layout
    assert conditioner.features == 3
