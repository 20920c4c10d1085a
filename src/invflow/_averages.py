"""Averages and their standard errors."""

from __future__ import annotations

import math

from torch import Tensor


def mean_and_error(values: Tensor, clusters: Tensor | None = None) -> tuple[float, float]:
    r"""Return the mean and its standard error, which is NaN for a single value or cluster.

    Values of the same cluster may depend on each other. For N values in G clusters, with $r_g$ the
    sum of the differences from the mean in cluster g, the error is

    $$\frac1N \sqrt{\frac{G}{G - 1} \sum_g r_g^2}$$

    Args:
        values: (count,).
        clusters: the number of each value's cluster, (count,); None if all are independent.

    References:
        Cameron and Miller 2015, "A practitioner's guide to cluster-robust inference", section II.

    Example:
        >>> import torch
        >>> values = torch.tensor([1.0, 1.0, 2.0, 2.0])
        >>> mean_and_error(values, torch.tensor([0, 0, 1, 1]))
        (1.5, 0.5)
    """
    values = values.double()
    mean = values.mean()
    sums = values - mean
    if clusters is not None:
        found, places = clusters.unique(return_inverse=True)
        sums = sums.new_zeros(len(found)).index_add(0, places, sums)
    count = len(sums)
    if count == 1:
        return float(mean), math.nan
    squares = float(sums.square().sum()) * count / (count - 1)
    return float(mean), math.sqrt(squares) / len(values)
