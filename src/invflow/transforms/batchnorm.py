"""Batch normalisation as an invertible map."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow.transforms.base import Transform


class BatchNorm(Transform):
    r"""Batch normalisation of data, in the direction from data to noise.

    $$z_i = \frac{x_i - m_i}{\sqrt{v_i + \epsilon}}\, e^{\gamma_i} + \beta_i, \qquad
    \log|\det dz/dx| = \sum_i \gamma_i - \tfrac12 \log(v_i + \epsilon)$$

    In training mode the inverse direction, x -> z, uses the mean m and the variance v of the batch
    and moves its running averages towards them; in evaluation mode it uses the running averages. In
    both modes the log-determinant is that of the affine map with these m and v for each event: it
    ignores that the batch's statistics depend on the event, although gradients flow through them.

    The forward direction, z -> x, always uses the running averages, because the batch is not
    available. So the two directions invert each other in evaluation mode, but in training mode only
    approximately. For a flow that is trained through its samples, use `ActNorm`.

    Args:
        features: number of features, D.
        epsilon: added to variances.
        momentum: weight of a new batch in the running averages.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` is below 1, `epsilon` is not positive and finite, or `momentum` is
            not in (0, 1]; when x is mapped to z in training mode, if there are fewer than two
            events.

    References:
        Dinh et al. 2017, arXiv 1605.08803, appendix E; Papamakarios et al. 2017, arXiv 1705.07057
        (appendix on batch normalization).

    Example:
        >>> import torch
        >>> z, ladj = BatchNorm(1).inverse(torch.tensor([[3.0], [7.0]]))
        >>> z.squeeze().detach(), ladj.detach()
        (tensor([-1.0000,  1.0000]), tensor([-0.6931, -0.6931]))
    """

    pure: ClassVar[bool] = False  # a second call would update the running averages twice
    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, features: int, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(features)
        self.epsilon = _checks.number("epsilon", epsilon)
        self.momentum = _checks.number("momentum", momentum)
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be positive and finite, got {epsilon!r}")
        if not 0 < self.momentum <= 1:
            raise ValueError(f"momentum must be above 0 and at most 1, got {momentum!r}")
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_variance", torch.ones(features))

    def flaw(self, name: str, tensor: Tensor) -> str | None:
        if name == "running_variance" and bool((tensor < 0).any()):
            return f"must not be negative, got {tensor.min().item()}"
        return None

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        ladj = 0.5 * torch.log(self.running_variance + self.epsilon) - self.log_scale
        x = (z - self.shift) * torch.exp(ladj) + self.running_mean
        return x.to(z.dtype), ladj.sum().to(z.dtype).expand(z.shape[:-1])

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, variance = self.running_mean, self.running_variance
        if self.training:
            mean, variance = self._of_batch(x)
        ladj = self.log_scale - 0.5 * torch.log(variance + self.epsilon)
        z = (x - mean) * torch.exp(ladj) + self.shift
        return z.to(x.dtype), ladj.sum().to(x.dtype).expand(x.shape[:-1])

    def _of_batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the batch's mean and variance, and update the running averages."""
        rows = x.reshape(-1, self.features).to(self.running_mean.dtype)
        count = len(rows)
        if count < 2:
            raise ValueError(f"x must hold at least 2 events in training mode, got {count}")
        variance, mean = torch.var_mean(rows, 0, correction=0)
        with torch.no_grad():
            # Averages that became NaN would stay NaN.
            finite = torch.isfinite(mean) & torch.isfinite(variance)
            weight = self.momentum * finite.to(mean.dtype)
            self.running_mean.lerp_(mean.nan_to_num(), weight)
            self.running_variance.lerp_((variance * (count / (count - 1))).nan_to_num(), weight)
        return mean, variance
