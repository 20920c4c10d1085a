"""What is expected of a log density, for posteriors and teachers alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from invflow._log_density import BadTarget, check_consistent, checked, scores
from tests.helpers import randn


def _square(z: Tensor) -> Tensor:
    return -0.5 * z.square().sum(-1)


def test_scores_of_a_normal_density() -> None:
    z = randn(5, 3)
    value, slope = scores(_square, z)
    torch.testing.assert_close(value, _square(z))
    torch.testing.assert_close(slope, -z)
    assert not value.requires_grad
    assert not slope.requires_grad


def test_a_constant_that_keeps_its_graph_has_the_slope_zero() -> None:
    weight = torch.ones((), requires_grad=True)
    _, slope = scores(lambda z: weight.expand(len(z)), randn(4, 2))
    assert torch.equal(slope, torch.zeros(4, 2, dtype=slope.dtype))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (3.0, TypeError, "must return a tensor, got float"),
        (torch.zeros(4).long(), TypeError, r"must return floating-point numbers, got torch\.int64"),
        (torch.zeros(()), BadTarget, r"shape \(4,\) .* got \(\): is it summed over the batch"),
        (torch.zeros(4, 1), BadTarget, r"got \(4, 1\)"),
    ],
)
def test_what_is_not_a_log_density(value: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        checked(value, torch.Size([4]))


def test_values_without_a_gradient() -> None:
    with pytest.raises(BadTarget, match="must be differentiable"):
        scores(lambda z: _square(z.detach()), randn(4, 2))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: _square(z) + torch.rand(len(z)), "same value for the same vector"),
        (lambda z: _square(z) - z[:, 0].sum(), "same value for a vector in any batch"),
    ],
)
def test_inconsistent_ones(function: Callable[[Tensor], Tensor], message: str) -> None:
    z = randn(6, 2)
    with pytest.raises(BadTarget, match=message):
        check_consistent(function(z), lambda rows: function(z[rows]))


def test_rounding_and_infinities_are_consistent() -> None:
    z = randn(3, 2)

    def rounded(rows: slice) -> Tensor:
        return _square(z[rows].float()).double() * torch.tensor([1.0, torch.inf, 1.0])[rows]

    check_consistent(_square(z), rounded)
