"""Noise with a temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from invflow import _checks
from invflow.flows.base import Base


class Tempered(Base):
    r"""Noise whose deviations from the centre of a base are multiplied by a temperature T.

    $$z = m + T (e - m), \qquad \log p(z) = \log p_e\big(m + (z - m) / T\big) - D \log T$$

    Args:
        base: the distribution of e, which has a centre m; its parameters are shared.
        temperature: T, below 1 for typical draws, above 1 for varied ones.

    Raises:
        TypeError: if the temperature is not a number.
        ValueError: if the temperature is not positive and finite, or the base has no centre.

    References:
        Kingma and Dhariwal 2018, arXiv 1807.03039, section 6.

    Example:
        >>> from invflow.flows import StandardNormal
        >>> cold = Tempered(StandardNormal(2), 0.5)
        >>> torch.allclose(cold.log_prob(torch.zeros(2)), torch.tensor(-0.4516), atol=1e-4)
        True
    """

    def __init__(self, base: Base, temperature: float) -> None:
        super().__init__(base.features)
        self.temperature = _checks.positive("temperature", temperature)
        if base.centre is None:
            raise ValueError(
                "base must be symmetric about a centre to have a temperature, such as a normal, "
                f"got {type(base).__name__}"
            )
        self.base = base
        self.has_rsample = base.has_rsample

    @property
    def centre(self) -> Tensor | float | None:
        return self.base.centre

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        noise = self.base.rsample(shape, dtype=dtype, device=device, generator=generator)
        return self._centre() + self.temperature * (noise - self._centre())

    def log_prob(self, z: Tensor) -> Tensor:
        log_prob = self.base.log_prob(self._noise(z))
        return log_prob - self.features * math.log(self.temperature)

    def cdf(self, z: Tensor) -> Tensor:
        return self.base.cdf(self._noise(z))

    def icdf(self, p: Tensor) -> Tensor:
        return self._centre() + self.temperature * (self.base.icdf(p) - self._centre())

    def _noise(self, z: Tensor) -> Tensor:
        return self._centre() + (z - self._centre()) / self.temperature

    def _centre(self) -> Tensor | float:
        centre = self.base.centre
        return 0.0 if centre is None else centre
