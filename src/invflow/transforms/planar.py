"""The planar transform."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow.transforms import root
from invflow.transforms.amortised import Amortised
from invflow.transforms.positive import positive, ratio


class Planar(Amortised):
    r"""A step along one direction, of a size that depends on the distance from a plane.

    $$x = z + \hat u \tanh a, \quad a = w \cdot z + b, \qquad
    \log|\det dx/dz| = \log(1 + s \tanh' a), \quad s = w \cdot \hat u > -1$$

    For any u, learned or given by the context like w and b,

    $$\hat u = u + \frac{m(k) - k}{|w|^2} w, \qquad
    k = w \cdot u, \quad m(k) = k + \sqrt{1 + k^2} - 1,$$

    has s = m(k) > -1, and every such vector is $\hat u$ of exactly one u, so the transform is
    invertible for all parameters. (The paper uses $m(k) = \log(1 + e^k) - 1$, with which u = 0 is
    not the identity and $\hat u$ has no limit as w goes to 0.) It starts at the identity, u = 0.

    Inverse: $a + s \tanh a = w \cdot x + b$ is a scalar equation in a, solved to rounding; then
    $z = x - \hat u \tanh a$. Its first three derivatives are exact.

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if `features` is below 1, or `context` is negative.

    References:
        Rezende and Mohamed 2015, arXiv 1505.05770, eq. 10-12 and appendix A.1.

    Example:
        >>> import torch
        >>> transform = Planar(features=3, context=2)
        >>> z, context = torch.randn(5, 3), torch.randn(5, 2)
        >>> x, ladj = transform(z, context)
        >>> x.shape, ladj.shape
        (torch.Size([5, 3]), torch.Size([5]))
        >>> torch.allclose(transform.inverse(x, context)[0], z, atol=1e-5)
        True
    """

    def __init__(
        self, features: int, *, context: int = 0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(features, context)
        w = torch.randn(features, generator=generator) / math.sqrt(features)
        self._declare([w, torch.zeros(features), torch.zeros(1)], generator)

    def _map(self, z: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        w, u, b = tensors
        u, rise = _invertible(u, w)
        a = (w * z).sum(-1) + b.squeeze(-1)
        return z + u * torch.tanh(a).unsqueeze(-1), torch.log(root.slope(a, rise))

    def _unmap(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        w, u, b = tensors
        u, rise = _invertible(u, w)
        a = root.solve(rise, (w * x).sum(-1) + b.squeeze(-1))
        return x - u * torch.tanh(a).unsqueeze(-1), -torch.log(root.slope(a, rise))


def _invertible(u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the u that is used, and 1 + w.u for it."""
    k = (w * u).sum(-1)
    unit = F.normalize(w, dim=-1)
    more = (unit * u).sum(-1) * (ratio(k) - 1)
    return u + unit * more.unsqueeze(-1), positive(k)
