"""Averages and their standard errors, of independent values and of clusters."""

from __future__ import annotations

import math

import pytest
import torch

from invflow._averages import mean_and_error
from tests.helpers import generator


def test_three_numbers() -> None:
    mean, error = mean_and_error(torch.tensor([1.0, 3.0, 5.0]))
    assert (mean, error) == pytest.approx((3.0, 2 / math.sqrt(3)))
    assert math.isnan(mean_and_error(torch.tensor([1.0]))[1])


def test_what_is_not_finite() -> None:
    mean, error = mean_and_error(torch.tensor([1.0, -math.inf, 2.0]))
    assert mean == -math.inf
    assert math.isnan(error)


def test_errors_of_clusters() -> None:
    values = torch.randn(60, generator=generator(3), dtype=torch.float64)
    spread = float(values.std()) / math.sqrt(60)
    assert mean_and_error(values)[1] == pytest.approx(spread)
    alone = torch.randperm(60, generator=generator(4))
    assert mean_and_error(values, 7 * alone)[1] == pytest.approx(spread)
    # Clusters of the same size are as if only their means had been seen, whatever their order.
    means = values.reshape(12, 5).mean(1)
    clusters = 100 - torch.arange(12).repeat_interleave(5)
    shuffled = mean_and_error(values[alone], clusters[alone])
    assert shuffled == pytest.approx((float(means.mean()), float(means.std()) / math.sqrt(12)))
    assert math.isnan(mean_and_error(values, torch.zeros(60).long())[1])


def test_errors_of_clusters_cover_the_truth() -> None:
    """With clusters of different sizes, the error is that of repeated experiments."""
    clusters = torch.arange(40).repeat_interleave(1 + torch.arange(40) % 7)
    shared = torch.randn(4000, 40, generator=generator(5), dtype=torch.float64)
    own = torch.randn(4000, len(clusters), generator=generator(6), dtype=torch.float64)
    found = [mean_and_error(row, clusters) for row in 3.0 + shared[:, clusters] + own]
    means, errors = torch.tensor(found).T
    assert float(means.std()) == pytest.approx(float(errors.square().mean().sqrt()), rel=0.06)
