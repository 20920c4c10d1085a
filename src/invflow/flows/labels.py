"""Class labels as the context of a flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def one_hot(labels: Tensor, classes: int, like: Tensor) -> Tensor:
    """Return the context for labels: one number per class, which sum to one.

    Args:
        labels: integers, shape `batch`, from 0 to classes - 1, or -1 for no known class, whose
            context is the mean of all classes.
        classes: number of classes.
        like: a tensor with the dtype and device of the context.

    Returns:
        Contexts, shape (*batch, classes).

    Raises:
        TypeError: if `labels` is not a tensor of integers.
        ValueError: if a label is out of range.

    Example:
        >>> import torch
        >>> one_hot(torch.tensor([1, -1]), 2, torch.zeros(()))
        tensor([[0.0000, 1.0000],
                [0.5000, 0.5000]])
    """
    whole = isinstance(labels, Tensor) and not labels.dtype.is_floating_point
    if not whole or labels.dtype == torch.bool or labels.dtype.is_complex:
        raise TypeError(f"labels must be a tensor of integers, got {labels!r}")
    if labels.numel() and not -1 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"labels must lie in -1 .. {classes - 1}, "
            f"got {int(labels.min())} to {int(labels.max())}"
        )
    labels = labels.to(like.device, torch.long)
    known = (labels >= 0).unsqueeze(-1)
    return torch.where(known, F.one_hot(labels.clamp(min=0), classes).to(like), 1 / classes)
