from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from invflow.vi import Flat
from invflow.vi.targets.density import Density
from tests.helpers import assert_close, generator, randn


def _density(function: Any, dim: int = 2) -> Density:
    return Density(Flat(function, dim), generator(0))


def _half(z: Tensor) -> Tensor:
    """Finite for a positive first entry only; its gradient is infinite at zero of the second."""
    return torch.log(z[:, 0]) - torch.sqrt(z[:, 1].abs())


def test_values_and_scores() -> None:
    density = _density(lambda z: -(z**3).sum(-1))
    z = randn(4, 2)
    value, score = density.scores(z)
    assert_close((value, score), (-(z**3).sum(-1), -3 * z.square()), 1e-12)
    assert_close(density.exact(z), value, 0)
    assert (density.evaluations, density.rejected) == (8, 0)


def test_what_is_not_finite_is_counted_and_harmless() -> None:
    density = _density(_half)
    z = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    value, score = density.scores(z)
    assert value.isfinite().tolist() == [True, False, False]
    assert (value[1:] == -torch.inf).all()
    assert torch.equal(score[1:], torch.zeros(2, 2).double())
    assert score.isfinite().all()
    assert (density.evaluations, density.rejected) == (3, 2)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda z: z, ValueError, r"must return shape \(4,\) .* got \(4, 2\)"),
        (lambda z: z.sum(), ValueError, r"must return shape \(4,\) .* got \(\)"),
        (lambda z: z.sum(-1, keepdim=True), ValueError, r"got \(4, 1\)"),
        (lambda z: z.detach().sum(-1), ValueError, "must be differentiable"),
        (lambda z: 3.0, TypeError, "must return a tensor, got float"),
        (lambda z: z.detach().sum(-1).long(), TypeError, "floating-point numbers, got torch.int64"),
    ],
)
def test_bad_log_densities(function: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _density(function).scores(randn(4, 2))


def test_float32_targets() -> None:
    value, score = _density(lambda z: -z.float().square().sum(-1)).scores(randn(4, 2))
    assert value.dtype == score.dtype == torch.float64
