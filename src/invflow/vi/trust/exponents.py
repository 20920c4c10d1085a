r"""How fast densities fall along rays: like a power of the distance, or faster.

A Student's t with $\nu$ degrees of freedom falls like $r^{-(\nu + 1)}$, a multivariate one in D
dimensions like $r^{-(\nu + D)}$ in every direction, and independent ones like $r^{-(\nu + 1)}$
along each axis and like the product in between. Between two distances the exponent is

$$a = - \frac{\log p(r_{k + 1}) - \log p(r_k)}{\log r_{k + 1} - \log r_k},$$

and it settles from one pair of distances to the next, where for a normal it grows like $r^2$, and
for the exponential tails of a logistic, or of the logarithm of a scale, like r. The limit is
extrapolated with the error of a Student's t, which is proportional to $1 / r^2$.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Distances in standard deviations: beyond the bulk, and where one draw in a million may lie.
DISTANCES = (10.0, 30.0, 90.0, 270.0)
#: Limits on the factor by which an exponent that has settled may change in between.
SETTLED = (0.6, 1.7)


@torch.no_grad()
def exponents(log_density: Callable[[Tensor], Tensor], centre: Tensor, steps: Tensor) -> Tensor:
    """Return the power by which a density falls along rays, (rays,), infinite if by none.

    Args:
        log_density: of vectors, (any, dim) to (any,).
        centre: where the rays start, (dim,).
        steps: their directions, one standard deviation long, (rays, dim).

    Example:
        >>> centre, steps = torch.zeros(1).double(), torch.ones(1, 1).double()
        >>> exponents(lambda z: -2 * torch.log1p(z.square() / 3).sum(-1), centre, steps)
        tensor([4.0000], dtype=torch.float64)
        >>> exponents(lambda z: -0.5 * z.square().sum(-1), centre, steps)
        tensor([inf], dtype=torch.float64)
    """
    distances = torch.tensor(DISTANCES).to(steps)
    points = centre + distances[:, None, None] * steps
    values = log_density(points.flatten(0, 1)).to(steps).unflatten(0, (len(distances), -1))
    falls = -values.diff(dim=0) / distances.log().diff().unsqueeze(-1)
    near, far = falls[:-1], falls[1:]
    ratio = far / near
    settled = (near > 0) & (ratio > SETTLED[0]) & (ratio < SETTLED[1])
    shrinkage = (distances[0] / distances[1]) ** 2
    limits = (1 - shrinkage) / (1 / far - shrinkage / near)
    # The first pair that has settled: farther out a wide prior may take over.
    first = settled.long().argmax(0, keepdim=True)
    return torch.where(settled.any(0), limits.gather(0, first).squeeze(0), torch.inf)
