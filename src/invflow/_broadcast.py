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
    common: list[int] = []
    for place in range(-max(map(len, shapes), default=0), 0):
        size = 1
        for shape in shapes:
            if len(shape) >= -place and shape[place] != 1:
                if size != 1 and size != shape[place]:
                    raise ValueError(f"shapes {[tuple(s) for s in shapes]} do not broadcast")
                size = shape[place]
        common.append(size)
    return Size(common)
