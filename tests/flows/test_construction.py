from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch

from invflow import IAF, MAF, Flow
from invflow.conditioners import Conditioner
from invflow.flows import build
from invflow.transforms import Autoregressive, orders
from invflow.univariate import UNIVARIATES
from tests.helpers import assert_close, generator, randn

WIDTHS: dict[str, Callable[[], Iterable[int]]] = {
    "list": lambda: [8, 9],
    "size": lambda: torch.Size([8, 9]),
    "iterator": lambda: iter([8, 9]),
}


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_widths_in_any_form(widths: Callable[[], Iterable[int]]) -> None:
    flow = IAF(4, transforms=3, hidden_features=widths())
    expected = IAF(4, transforms=3, hidden_features=(8, 9))
    shapes = [parameter.shape for parameter in flow.parameters()]
    assert shapes == [parameter.shape for parameter in expected.parameters()]
    assert flow.config == expected.config


@pytest.mark.parametrize("kind", [IAF, MAF])
@pytest.mark.parametrize("transforms", [1, 4])
def test_as_many_transforms_as_asked_for(kind: type[Flow], transforms: int) -> None:
    flow = kind(4, transforms=transforms)
    parts = [part for part in flow.modules() if isinstance(part, Autoregressive)]
    assert len(parts) == transforms
    # Parameters are their own in each.
    assert len(list(flow.parameters())) == transforms * len(list(parts[0].parameters()))


def test_orders() -> None:
    assert orders("same", 3, 3) == [None, None, None]
    first, second, third, fourth = orders("reverse", 3, 4)
    assert first is third is None
    assert second is not None
    assert fourth is not None
    assert second.tolist() == fourth.tolist() == [2, 1, 0]
    first, *rest = orders("random", 40, 4, generator(1))
    assert first is None
    assert all(sorted(order.tolist()) == list(range(40)) for order in rest)
    assert len({tuple(order.tolist()) for order in rest}) == 3


def test_conditioner_by_a_callable() -> None:
    """A conditioner of one's own is used, and has every inverse but the cached one."""

    class Shifted(Conditioner):
        def __init__(self, features: int, start: Any, context: int) -> None:
            super().__init__(features, len(start), context)
            self.weight = torch.nn.Parameter(torch.full((features, features), 0.3))

        def forward(self, z: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
            shift = torch.tanh(z @ self.weight.tril(-1).t())
            return torch.stack([shift, 0.5 * shift], -1)

    def build(features: int, start: Any, widths: Any, context: int, **_: Any) -> Conditioner:
        return Shifted(features, start, context)

    flow = IAF(5, transforms=2, conditioner=build).double()
    x, log_q = flow().rsample_and_log_prob((4,), generator=generator(1))
    assert_close(flow().log_prob(x), log_q, 1e-10)
    with pytest.raises(ValueError, match='inverse="cached" needs a conditioner with a decoder'):
        IAF(5, conditioner=build, inverse="cached")


@pytest.mark.parametrize("kind", [IAF, MAF])
@pytest.mark.parametrize("univariate", UNIVARIATES)
def test_new_flow_is_near_its_start(kind: type[Flow], univariate: str) -> None:
    """Close to the identity, or for the gate to a contraction: not far from the noise."""
    flow = kind(5, transforms=2, univariate=univariate, generator=generator(1)).double()
    z = randn(100, 5)
    x, _ = flow.transform(z)
    ratio = x / z
    assert ((ratio > 0.5) & (ratio < 1.7)).double().mean() > 0.85


def test_a_subclass_does_not_take_over_its_parents_name() -> None:
    class Mine(IAF):
        def __init__(self, size: int) -> None:
            super().__init__(features=size)

    assert type(build("iaf", features=3)) is IAF
    assert Mine(3).features == 3
