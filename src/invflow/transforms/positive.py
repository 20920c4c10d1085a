r"""Parameters that must stay on one side of a limit.

Planar, radial and Sylvester transforms are invertible if a number s is above -1. From an unbounded
number k they compute

$$s = m(k) = k + \sqrt{1 + k^2} - 1,$$

which maps the reals one to one onto (-1, inf), with m(0) = 0 and m'(0) = 1. So s is close to k for
small k, every s can be reached, and 1 + s decays only as 1 / |2k|. (Rezende and Mohamed use
$m(k) = \log(1 + e^k) - 1$, which is not the identity at k = 0.)
"""

from __future__ import annotations

import torch
from torch import Tensor


def positive(k: Tensor) -> Tensor:
    r"""Return $1 + m(k) = k + \sqrt{1 + k^2}$, which is positive, and accurate even where small.

    Example:
        >>> positive(torch.tensor([-0.75, 0.0, 0.75]))
        tensor([0.5000, 1.0000, 2.0000])
    """
    return torch.exp(torch.asinh(k))


def ratio(k: Tensor) -> Tensor:
    r"""Return $m(k) / k = 1 + k / (1 + \sqrt{1 + k^2})$, in (0, 2), smooth even at k = 0.

    Example:
        >>> ratio(torch.tensor([-0.75, 0.0, 0.75]))
        tensor([0.6667, 1.0000, 1.3333])
    """
    return 2 * torch.sigmoid(torch.asinh(k))
