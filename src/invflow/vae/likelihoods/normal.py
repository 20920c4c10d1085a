"""Real numbers of any scale."""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow._part import Part
from invflow.vae.likelihoods.levels import Likelihood

#: Values further from the mean than this many standard deviations, and than twice the furthest
#: training value, are out of range.
FAR = 10
#: Rounding of the mean, in standard deviations, above which samples in the data's units are coarse.
COARSE = 0.01


class Normal(Likelihood, Part):
    r"""Real numbers in any units: a normal density with a learned standard deviation per feature.

    Observations are standardised with the mean m and the standard deviation u of the training data
    (`standardise`), and the density is that of the data in their own units:

    $$\log p(x) = \sum_i \log N\big((x_i - m_i) / u_i;\ \mu_i, s_i\big) - \log u_i$$

    The decoder outputs $\mu$. The standard deviations s are learned and the same for all images, so
    that the likelihood is bounded: predicted ones could shrink to 0 around single images. With
    linear networks this is factor analysis.

    Args:
        features: numbers per image or row of a table.

    References:
        Mattei and Frellsen 2018, arXiv 1802.04826, on unbounded likelihoods.

    Example:
        >>> import torch
        >>> likelihood = Normal(2).standardise(torch.tensor([[0.0, 100.0], [2.0, 300.0]]))
        >>> likelihood.observe(torch.tensor([1.0, 300.0]))
        tensor([0.0000, 0.7071])
        >>> likelihood.mean(torch.zeros(2, 1))
        tensor([  1., 200.])
    """

    outputs = 1
    fewest: ClassVar[int] = 0
    bounded: ClassVar[bool] = False

    centre: Tensor
    unit: Tensor
    reach: Tensor

    def __init__(self, features: int) -> None:
        super().__init__(0)
        self.features = _checks.positive_integer("features", features)
        self.raw_scale = nn.Parameter(torch.zeros(self.features))
        self.register_buffer("centre", torch.zeros(self.features))
        self.register_buffer("unit", torch.ones(self.features))
        self.register_buffer("reach", torch.zeros(self.features))

    def options(self) -> dict[str, Any]:
        return {"features": self.features}

    def flaw(self, name: str, tensor: Tensor) -> str | None:
        if name == "unit" and not bool((tensor > 0).all()):
            return f"must be positive, got {tensor.min():g}"
        return None

    @torch.no_grad()
    def standardise(self, data: Tensor) -> Self:
        """Set mean, standard deviation and range of each feature to those of training data.

        Args:
            data: real numbers, (count, *any) with `features` numbers each, at least two.

        Returns:
            This likelihood.

        Raises:
            TypeError: if `data` is not a tensor of real numbers.
            ValueError: if the shape is wrong, a number is not finite, or a feature is constant or
                varies too little, compared with its mean, for the precision of this likelihood.
        """
        self._check_numbers("data", data)
        if data.dim() < 2 or len(data) < 2 or data[0].numel() != self.features:
            raise ValueError(
                f"data must have shape (count, {self.features}), with a count of at least 2, "
                f"got {tuple(data.shape)}"
            )
        rows = data.reshape(len(data), -1).to("cpu", torch.float64)
        centre, unit = rows.mean(0), rows.std(0)
        constant = (rows == rows[0]).all(0).nonzero()
        if len(constant):
            place = int(constant[0])
            raise ValueError(
                f"data must vary in every feature, got {float(rows[0, place]):g} throughout "
                f"feature {place}: its density has no maximum; drop the feature, or add noise to it"
            )
        held = torch.finfo(self.unit.dtype)
        coarse = (held.eps * centre.abs() > COARSE * unit) | (unit < held.tiny)
        lost = (coarse | (torch.maximum(centre.abs(), unit) > held.max)).nonzero()
        if len(lost):
            place = int(lost[0])
            raise ValueError(
                f"data must have means and standard deviations that {self.unit.dtype} can tell "
                f"apart: feature {place} has {float(centre[place]):g} and {float(unit[place]):g}; "
                "subtract an offset, rescale the feature, or convert the model with .double() first"
            )
        reach = ((rows - centre) / unit).abs().amax(0)
        for own, value in ((self.centre, centre), (self.unit, unit), (self.reach, reach)):
            own.copy_(value)
        return self

    def check(self, values: Any) -> None:
        """Check real numbers, and warn of those out of the range of the training data.

        Raises:
            TypeError: if `values` is not a tensor of real numbers.
            ValueError: if one of them is not finite.
        """
        self._check_numbers("values", values)
        rows = values.detach().reshape(-1, self.features)
        away = self._standard(rows).abs()
        far = away > torch.clamp(2 * self.reach.to(away), min=FAR)
        if not bool(far.any()):
            return
        row, place = divmod(int(torch.where(far, away, 0).argmax()), self.features)
        warnings.warn(
            f"{int(far.any(1).sum())} of {len(rows)} rows hold values out of the range that the "
            f"model is set for: feature {place} of row {row} is {float(rows[row, place]):g}, where "
            f"the mean is {float(self.centre[place]):g} and the standard deviation "
            f"{float(self.unit[place]):g}; check the units, or set the range with "
            "likelihood.standardise(training_data)",
            stacklevel=3,
        )

    def observe(self, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return real numbers, standardised, in their own precision or this likelihood's."""
        return self._standard(levels)

    def scaled(self, x: Tensor) -> Tensor:
        """Return observations, which are standardised, as input of a network."""
        return x

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        log_scale = self._log_scale(params)
        away = (x - params.squeeze(-1)) * torch.exp(-log_scale)
        units = self.unit.to(params).log() + 0.5 * math.log(2 * math.pi)
        return (-0.5 * away.square() - log_scale - units).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        return self._restored(params.squeeze(-1))

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean = params.squeeze(-1)
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)
        return self._restored(mean + self._log_scale(params).exp() * noise)

    def _log_scale(self, params: Tensor) -> Tensor:
        """Return the log standard deviations: softly bounded, those of the data at first."""
        return 5 * torch.tanh(self.raw_scale.to(params) / 5)

    def _standard(self, values: Tensor) -> Tensor:
        own = values.dtype if values.is_floating_point() else torch.float64
        real = values.to(torch.promote_types(own, self.unit.dtype))
        return (real - self.centre.to(real)) / self.unit.to(real)

    def _restored(self, standard: Tensor) -> Tensor:
        return standard * self.unit.to(standard) + self.centre.to(standard)

    def _check_numbers(self, name: str, values: Any) -> None:
        if not isinstance(values, Tensor) or values.is_complex() or values.dtype == torch.bool:
            got = values.dtype if isinstance(values, Tensor) else type(values).__name__
            raise TypeError(f"{name} must be a tensor of real numbers, got {got}")
        bad = int((~values.isfinite()).sum())
        if bad:
            raise ValueError(
                f"{name} must be finite, got {bad} NaN or infinite numbers out of {values.numel()}"
            )
