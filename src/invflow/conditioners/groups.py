"""Groups: consecutive features whose parameters are computed at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow import _checks

#: One size for all groups (the last one may be smaller), or the size of each.
Group: TypeAlias = int | tuple[int, ...]


def checked(group: Any, features: int) -> Group:
    """Return `group` in its shortest form: one size if that describes all groups.

    Args:
        group: the size of all groups, of which the last one may be smaller, or the size of each.
        features: number of features, D.

    Raises:
        TypeError: if it is neither an integer nor a sequence of integers.
        ValueError: if a size is below 1 or above `features`, or sizes do not sum to `features`.

    Example:
        >>> checked([2, 2, 1], features=5), checked([2, 3], features=5)
        (2, (2, 3))
    """
    if isinstance(group, Iterable) and not isinstance(group, str) and getattr(group, "ndim", 1):
        each = _checks.widths("group", group)
        if sum(each) != features:
            raise ValueError(
                f"group must be sizes that sum to the number of features, {features}, "
                f"got {len(each)} sizes with sum {sum(each)}"
            )
        return each[0] if each == sizes(each[0], features) else each
    size = _checks.positive_integer("group", group)
    if size > features:
        raise ValueError(f"group must be at most the number of features, {features}, got {size}")
    return size


def sizes(group: Group, features: int) -> tuple[int, ...]:
    """Return the size of each group.

    Example:
        >>> sizes(2, features=5)
        (2, 2, 1)
    """
    if not isinstance(group, int):
        return group
    whole, rest = divmod(features, group)
    return (group,) * whole + ((rest,) if rest else ())


def from_json(group: int | Sequence[int]) -> Group:
    """Return what JSON has made of a `Group`: a list, if it was a tuple."""
    return group if isinstance(group, int) else tuple(group)


def padded(values: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return features by group, (*batch, groups, largest size), with zeros after smaller groups.

    Args:
        values: shape (*batch, features).
        sizes: of the groups.

    Example:
        >>> padded(torch.arange(1, 6), (2, 2, 1))
        tensor([[1, 2],
                [3, 4],
                [5, 0]])
    """
    count, largest = len(sizes), max(sizes)
    if _equal(sizes):
        rest = count * largest - values.shape[-1]
        return F.pad(values, (0, rest)).unflatten(-1, (count, largest))
    parts = values.split(list(sizes), -1)
    return torch.stack([F.pad(part, (0, largest - part.shape[-1])) for part in parts], -2)


def unpadded(values: Tensor, sizes: Sequence[int], outputs: int) -> Tensor:
    """Return the parameters of all features, (*batch, features, outputs).

    Args:
        values: by group, (*batch, groups, largest size * outputs).
        sizes: of the groups.
        outputs: number of parameters per feature.
    """
    if _equal(sizes):
        return values.flatten(-2).unflatten(-1, (-1, outputs))[..., : sum(sizes), :]
    parts = zip(values.unbind(-2), sizes, strict=True)
    return torch.cat([part[..., : size * outputs] for part, size in parts], -1).unflatten(
        -1, (-1, outputs)
    )


def _equal(sizes: Sequence[int]) -> bool:
    """Whether all groups have the same size, except that the last one may be smaller."""
    return len({*sizes[:-1]}) <= 1 and sizes[-1] <= sizes[0]
