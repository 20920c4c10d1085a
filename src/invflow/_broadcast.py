"""The shape that shapes broadcast to, without what PyTorch imports for it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Size

__all__ = ["broadcast"]


def broadcast(*shapes: Sequence[int]) -> Size:
    """Return the shape that shapes broadcast to.

    `torch.broadcast_shapes` imports SymPy at its first call: a second, and 35 MB.

    Raises:
        ValueError: two sizes of a dimension differ, and neither is 1.

    Example:
        >>> broadcast((5, 1, 3), (4, 1), ())
        torch.Size([5, 4, 3])
    """
    rank = max([0, *[len(shape) for shape in shapes]])
    common = [1] * rank
    for shape in shapes:
        for place in range(-len(shape), 0):
            size = shape[place]
            if size != 1 and common[place] != 1 and size != common[place]:
                raise ValueError(f"shapes {[tuple(s) for s in shapes]} do not broadcast")
            if size != 1:
                common[place] = size
    return Size(common)
