r"""Causal layer normalisation: each unit by the units of its own degree or lower.

$$n_k = g_k\, a_k\, r_{m(k)}, \qquad
r_m = \Big(\frac{1 + \sum_{m(j) \le m} a_j^2}{1 + \#\{j : m(j) \le m\}}\Big)^{-1/2}$$

for pre-activations a, degrees m and learned gains g: root-mean-square normalisation (Zhang and
Sennrich 2019, arXiv 1910.07467) over prefixes. One unit with mean square one is added to each, so
that the size of a single unit is not normalised away.
"""

from __future__ import annotations

import torch
from torch import Tensor


def normalised(rows: Tensor, gain: Tensor, ends: Tensor) -> Tensor:
    """Return n for all units at once.

    Args:
        rows: pre-activations, (*batch, units).
        gain: (units,).
        ends: the last unit of each unit's degree, (units,).
    """
    exact = rows.to(gain.dtype)  # sums of squares need more precision than autocast leaves
    squares = exact.square().cumsum(-1).index_select(-1, ends)
    return (exact * gain * torch.rsqrt((1 + squares) / (2 + ends))).to(rows.dtype)


class PrefixNorm:
    """Computes the scale r of one degree after another.

    Args:
        like: a tensor of the same kind as the pre-activations, [units, batch].
    """

    def __init__(self, like: Tensor) -> None:
        self._squares = like.new_zeros(like.shape[1])
        self._count = 0

    def scale(self, rows: Tensor) -> Tensor:
        """Take the units of the next degree, [units, batch]; return their r, [batch]."""
        self._squares += rows.square().sum(0)
        self._count += rows.shape[0]
        return torch.rsqrt((1 + self._squares) / (1 + self._count))


class PrefixNormPullback:
    """`PrefixNorm` in reverse: one degree after another, starting with the last.

    Args:
        like: a tensor of the same kind as the pre-activations, [units, batch].
    """

    def __init__(self, like: Tensor) -> None:
        self._squares = like.new_zeros(like.shape[1])
        self._count = like.shape[0]

    def pull(self, cotangents: Tensor, rows: Tensor, gain: Tensor, scale: Tensor) -> None:
        """Turn the cotangents of n into those of a, in place.

        Args:
            cotangents: of the units of one degree, [units, batch].
            rows: their a, [units, batch].
            gain: their g, [units, 1].
            scale: their r, [batch].
        """
        cotangents.mul_(gain)
        total = (cotangents * rows).sum(0)
        self._squares.addcmul_(total, scale.pow(3), value=-0.5 / (1 + self._count))
        self._count -= rows.shape[0]
        cotangents.mul_(scale).addcmul_(rows, self._squares, value=2.0)
