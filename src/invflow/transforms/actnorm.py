"""A shift and a scale initialised from data."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from invflow._checks import has_values
from invflow.transforms.base import Transform


class ActNorm(Transform):
    r"""A shift and a scale per feature, initialised such that the first batch is standardised.

    $$x_i = \mu_i + e^{s_i} z_i, \qquad \log|\det dx/dz| = \sum_i s_i$$

    The first call in training mode, in either direction, sets $\mu$ and $s$ so that its output has
    mean zero and variance one in every feature; after that they are ordinary parameters. A feature
    that is constant in that batch (as all features are in a batch of one) is centred and keeps its
    scale; a feature with a NaN or an infinity keeps both. Before that call the transform is the
    identity. Whether it was initialised is saved with the parameters, so a loaded model is not
    initialised again.

    The first call may be compiled, but must not happen inside `torch.func` transforms. With
    DistributedDataParallel, make it before wrapping, so that all processes agree.

    Args:
        features: number of features, D.

    Raises:
        TypeError: if `features` is not an integer.
        ValueError: if `features` is below 1.

    References:
        Kingma and Dhariwal 2018, arXiv 1807.03039, section 3.1.

    Example:
        >>> import torch
        >>> z, _ = ActNorm(1).inverse(torch.tensor([[3.0], [7.0]]))
        >>> z.squeeze().tolist()
        [-1.0, 1.0]
    """

    started: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.register_buffer("started", torch.tensor(False))
        # The buffer is saved; this copy of it can be read without looking at a tensor.
        self._started = False
        self.register_load_state_dict_post_hook(_recall)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if self._is_first(z):
            mean, log_std = self._moments(z)
            self._start(-mean * torch.exp(-log_std), -log_std)
        x = self.shift + torch.exp(self.log_scale) * z
        return x.to(z.dtype), self.log_scale.sum().to(z.dtype).expand(z.shape[:-1])

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if self._is_first(x):
            self._start(*self._moments(x))
        z = (x - self.shift) * torch.exp(-self.log_scale)
        return z.to(x.dtype), -self.log_scale.sum().to(x.dtype).expand(x.shape[:-1])

    def _is_first(self, values: Tensor) -> bool:
        return self.training and not self._started and values.numel() > 0

    @torch.no_grad()
    def _moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log standard deviation of every feature."""
        rows = values.reshape(-1, self.features).to(self.shift.dtype)
        std, mean = torch.std_mean(rows, 0, correction=0)
        rounding = 8 * torch.finfo(rows.dtype).eps * rows.abs().amax(0)
        # A feature that is constant or not finite starts without a scale.
        mean = torch.where(torch.isfinite(mean), mean, 0.0)
        return mean, torch.where(torch.isfinite(std) & (std > rounding), std, 1.0).log()

    @torch.no_grad()
    def _start(self, shift: Tensor, log_scale: Tensor) -> None:
        try:
            self.shift.copy_(shift)
            self.log_scale.copy_(log_scale)
        except RuntimeError as error:
            raise RuntimeError(
                "ActNorm cannot be initialised inside a torch.func transform: "
                "make its first call in training mode outside of it"
            ) from error
        self.started.fill_(True)
        self._started = True


def _recall(module: nn.Module, _: Any) -> None:
    actnorm = cast(ActNorm, module)
    if has_values(actnorm.started):
        actnorm._started = bool(actnorm.started)  # pyright: ignore[reportPrivateUsage]
