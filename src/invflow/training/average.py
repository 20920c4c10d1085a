"""The moving average of a model's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

#: Where PyTorch has its operations on lists of tensors, with names that are not public.
_LISTS: Any = torch


class Average(nn.Module):
    r"""The exponential moving average of a model's weights over its updates.

    $$\bar w \gets d_t \bar w + (1 - d_t) w, \qquad d_t = \min\big(d, (1 + t) / (10 + t)\big)$$

    after $t$ updates, so that the first weights are soon forgotten. It starts at the weights after
    the first update; buffers are copied from the model.

    Args:
        model: what to average.
        decay: d, in [0, 1).

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> average = Average(model, decay=0.9)
        >>> for weight in (0.0, 11.0):
        ...     _ = torch.nn.init.constant_(model.weight, weight)
        ...     average.update_parameters(model)
        >>> average.module.weight.item()
        9.0
    """

    n_averaged: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = copy.deepcopy(model).eval()
        self.decay = decay
        first = next(model.parameters())
        self.register_buffer("n_averaged", torch.zeros((), dtype=torch.long, device=first.device))

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Include the model's weights after another update."""
        (own, own_others), (weights, others) = _tensors(self.module), _tensors(model)
        done = int(self.n_averaged)
        # All at once: with many small tensors, one by one takes longer than the update itself.
        if done:
            share = 1 - min(self.decay, (1 + done) / (10 + done))
            _LISTS._foreach_lerp_(own, weights, share)
        else:
            _LISTS._foreach_copy_(own, weights)
        if others:
            _LISTS._foreach_copy_(own_others, others)
        self.n_averaged += 1


def _tensors(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights and the buffers of a model."""
    weights, buffers = list(model.parameters()), list(model.buffers())
    return [each.detach() for each in weights], [each.detach() for each in buffers]
