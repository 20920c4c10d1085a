r"""How fast densities fall along rays: like a power of the distance, or faster.

A Student's t with $\nu$ degrees of freedom falls like $r^{-(\nu + 1)}$, a multivariate one in D
dimensions like $r^{-(\nu + D)}$ in every direction, and independent ones like $r^{-(\nu + 1)}$
along each axis and like the product in between. Between two distances the exponent is

$$a = - \frac{\log p(r_{k + 1}) - \log p(r_k)}{\log r_{k + 1} - \log r_k},$$

and it stays about the same from one pair of distances to the next, where for a normal it grows like
$r^2$, and for the exponential tails of a logistic, or of the logarithm of a scale, like r. The
limit is extrapolated with the error of a Student's t, which is proportional to $1 / r^2$.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from invflow.vi.targets.density import VECTORS_AT_ONCE

#: Limits on the factor by which an exponent that has settled changes where distances triple.
SETTLED = (0.6, 1.7)


@torch.no_grad()
def falls(
    log_density: Callable[[Tensor], Tensor],
    centre: Tensor,
    steps: Tensor,
    distances: Sequence[float],
) -> Tensor:
    """Return the exponents of a density between distances along rays, (distances - 1, rays).

    They are infinite where the density is zero or not finite.

    Args:
        log_density: of vectors, (any, dim) to (any,).
        centre: where the rays start, (dim,).
        steps: their directions, one standard deviation long, (rays, dim).
        distances: in standard deviations.

    Example:
        >>> centre, steps = torch.zeros(1).double(), torch.ones(1, 1).double()
        >>> falls(lambda z: -0.5 * z.square().sum(-1), centre, steps, (1, 2, 4))
        tensor([[2.1640],
                [8.6562]], dtype=torch.float64)
    """
    r = torch.tensor(distances).to(steps)
    points = (centre + r[:, None, None] * steps).flatten(0, 1).split(VECTORS_AT_ONCE)
    values = torch.cat([log_density(part) for part in points]).unflatten(0, (len(r), -1))
    found = -values.diff(dim=0) / r.log().diff().unsqueeze(-1)
    return torch.where(found.isfinite(), found, torch.inf)


def limits(found: Tensor, distances: Sequence[float]) -> Tensor:
    """Return the exponents along rays far out, (rays,), infinite where they do not settle.

    Args:
        found: exponents between distances, (distances - 1, rays).
        distances: three or more, in standard deviations, beyond the bulk, each about three times
            the one before.

    Example:
        >>> centre, steps = torch.zeros(1).double(), torch.ones(1, 1).double()
        >>> t = lambda z: -2 * torch.log1p(z.square() / 3).sum(-1)
        >>> limits(falls(t, centre, steps, (10, 30, 90)), (10, 30, 90))
        tensor([4.0000], dtype=torch.float64)
    """
    ratios = found[1:] / found[:-1]
    settled = (found > 0).all(0) & ((ratios > SETTLED[0]) & (ratios < SETTLED[1])).all(0)
    shrinkage = (distances[-3] / distances[-2]) ** 2
    limit = (1 - shrinkage) / (1 / found[-1] - shrinkage / found[-2])
    return torch.where(settled, limit, torch.inf)
