"""The multivariate Student's t as a base."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from invflow import _checks
from invflow.flows.base import Base
from invflow.flows.bases import BASES, student_t


class MultivariateStudentT(Base):
    r"""The multivariate Student's t, whose features are large together.

    $$p(z) = \frac{\Gamma(\frac{\nu + D}{2})}{\Gamma(\frac{\nu}{2}) (\nu \pi)^{D / 2}}
    \Big(1 + \frac{|z|^2}{\nu}\Big)^{-(\nu + D) / 2}$$

    Given the features before it, feature i is a Student's t with $\nu + i - 1$ degrees of freedom
    and the square of its scale $(\nu + z_1^2 + \dots + z_{i-1}^2) / (\nu + i - 1)$.

    Args:
        features: size of the vectors, D.
        df: nu, degrees of freedom, positive.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if `features` is below 1, or `df` is not positive and finite.

    References:
        Kotz & Nadarajah 2004, Multivariate t Distributions and Their Applications.

    Example:
        >>> import torch
        >>> MultivariateStudentT(2, df=3.0).log_prob(torch.zeros(2))
        tensor(-1.8379)
    """

    @property
    def centre(self) -> float:
        return 0.0

    def __init__(self, features: int, df: float = 4.0) -> None:
        super().__init__(features)
        self.df = _checks.positive("df", df)

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        df = self.df + torch.arange(self.features, dtype=dtype, device=device)
        t = student_t(df, shape, generator)
        growth = torch.log1p(t.square() / df)
        before = growth.cumsum(-1) - growth
        return t * (self.df / df).sqrt() * torch.exp(0.5 * before)

    def log_prob(self, z: Tensor) -> Tensor:
        power = (self.df + self.features) / 2
        constant = (
            math.lgamma(power)
            - math.lgamma(self.df / 2)
            - 0.5 * self.features * math.log(self.df * math.pi)
        )
        return constant - power * torch.log1p(z.square().sum(-1) / self.df)

    def config(self) -> dict[str, Any]:
        return {"df": self.df}


BASES["multivariate-student-t"] = MultivariateStudentT
