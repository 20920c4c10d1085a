"""The broadcast of shapes, without the imports of PyTorch's own function."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size

__all__ = ["broadcast"]


def broadcast(*shapes: Sequence[int]) -> Size:
    """Return the shape that several shapes broadcast to.

    (`torch.broadcast_shapes` imports SymPy at its first call, which takes a second and 35 MB.)

    Raises:
        ValueError: if two sizes of a dimension differ, and neither is 1.

    Example:
        >>> broadcast((5, 1, 3), (4, 1), ())
        torch.Size([5, 4, 3])
    """
    if torch.compiler.is_compiling():  # sizes may be symbols, which PyTorch knows how to handle
        return torch.broadcast_shapes(*shapes)
    rank = max((len(shape) for shape in shapes), default=0)
    common = [1] * rank
    for shape in shapes:
        for place in range(-len(shape), 0):
            size = shape[place]
            if size != 1 and common[place] != 1 and size != common[place]:
                given = ", ".join(str(tuple(each)) for each in shapes)
                raise ValueError(f"shapes must broadcast against each other, got {given}")
            if size != 1:
                common[place] = size
    return Size(common)
