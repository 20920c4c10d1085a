r"""What a conditioner reads of a feature: the feature itself, unless it is very large.

$$r(z) = \begin{cases} z & |z| \le k \\
\mathrm{sign}(z) \big(k + k \tanh(|z| / k - 1)\big) & |z| > k \end{cases}, \qquad k = b / 2$$

It is exactly the identity near zero, twice continuously differentiable, and never exceeds the bound
b. A conditioner may read any function of earlier features: the transform stays invertible and its
Jacobian triangular.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow._clamped import clamped


def soft_clip(z: Tensor, bound: float) -> Tensor:
    """Return r(z); z itself for an infinite bound."""
    if bound == math.inf:
        return z
    knee = bound / 2
    return clamped(z, -knee, knee).add(_beyond(z, knee), alpha=knee)


def soft_clip_slope(z: Tensor, bound: float) -> Tensor:
    """Return dr/dz."""
    return torch.ones_like(z) if bound == math.inf else 1 - _beyond(z, bound / 2).square()


def _beyond(z: Tensor, knee: float) -> Tensor:
    return torch.tanh(F.softshrink(z, knee) / knee)
