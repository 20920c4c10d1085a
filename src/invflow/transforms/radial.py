"""The radial transform."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow.transforms.amortised import Amortised
from invflow.transforms.positive import positive


class Radial(Amortised):
    r"""A contraction towards a point, or an expansion from it, that fades with distance.

    $$x = z + \beta h (z - z_0), \quad h = \frac{1}{\alpha + r}, \quad r = |z - z_0|, \qquad
    \log|\det dx/dz| = (D - 1) \log(1 + \beta h) + \log(1 + \beta h + \beta h' r)$$

    It is invertible for $\alpha > 0$ and $\beta > -\alpha$, so $\beta = \alpha (\kappa - 1)$ with
    $\kappa > 0$. The learned (or context-given) parameters are $z_0$ and two unbounded numbers t,
    from which $\alpha$ and $\kappa$ are computed as $t + \sqrt{1 + t^2}$. It starts at the
    identity,
    $\kappa = 1$.

    Inverse: with $\rho = |x - z_0|$, the distance r solves
    $r^2 + (\alpha \kappa - \rho) r - \alpha \rho = 0$, which has exactly one non-negative root.

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if `features` is below 1, or `context` is negative.

    References:
        Rezende and Mohamed 2015, arXiv 1505.05770, eq. 13-14 and appendix A.2.

    Example:
        >>> import torch
        >>> transform = Radial(features=3, context=2)
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
        centre = torch.randn(features, generator=generator)
        self._declare([centre, torch.zeros(1), torch.zeros(1)], generator)

    def _map(self, z: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        centre, alpha, kappa = tensors[0], positive(tensors[1]), positive(tensors[2])
        offset = z - centre
        stretch, ladj = self._stretch(_norm(offset), alpha, kappa)
        return centre + offset * stretch, ladj

    def _unmap(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        centre, alpha, kappa = tensors[0], positive(tensors[1]), positive(tensors[2])
        offset = x - centre
        stretch, ladj = self._stretch(_radius(_norm(offset), alpha, kappa), alpha, kappa)
        return centre + offset / stretch, -ladj

    def _stretch(self, r: Tensor, alpha: Tensor, kappa: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 + beta h and the log-determinant at distance r, without negative terms."""
        near, far = alpha / (alpha + r), r / (alpha + r)
        across = far + kappa * near
        along = far * (1 + near) + kappa * near.square()
        ladj = (self.features - 1) * torch.log(across) + torch.log(along)
        return across, ladj.squeeze(-1)


def _norm(offset: Tensor) -> Tensor:
    return torch.linalg.vector_norm(offset, dim=-1, keepdim=True)


def _radius(rho: Tensor, alpha: Tensor, kappa: Tensor) -> Tensor:
    """Return the distance before the map from the one after it, without cancellation."""
    p = rho - alpha * kappa
    outside = p > 0
    total = torch.sqrt(p.square() + 4 * alpha * rho) + torch.where(outside, p, -p)
    return torch.where(outside, total / 2, 2 * alpha * rho / total)
