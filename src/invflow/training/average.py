"""The moving average of a model's weights."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class Average(AveragedModel):
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

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self.decay = decay
        self.eval()

    def update_parameters(self, model: nn.Module) -> None:
        """Include the model's weights after another update."""
        done = int(self.n_averaged)
        self.multi_avg_fn = get_ema_multi_avg_fn(min(self.decay, (1 + done) / (10 + done)))
        super().update_parameters(model)
