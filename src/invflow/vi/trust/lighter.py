r"""Whether a flow's tails are lighter than its target's, along rays through its draws.

Where a target falls like $r^{-a}$ and the flow like $r^{-b}$, the weights have a tail of shape

$$k = \frac{b - a}{b - d} ,$$

with d = D, or d = 1 along a ridge of a density that has a < D. Above one half their variance is
infinite, however well the bulk is matched, and as no draw lies where they are large, k-hat need not
show it. The exponents (`exponents`) are measured along the axes, and from the median of the draws
through those farthest out; b is the one at the largest distances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow.vi.trust.exponents import falls, limits
from invflow.vi.trust.importance import FINITE_VARIANCE_KHAT

#: Distances in standard deviations at which densities are compared.
DISTANCES = (10.0, 30.0, 90.0, 270.0)
#: Draws farthest out whose rays are looked along.
FAR_DRAWS = 16
#: How much the exponent may exceed the number of dimensions for a tail to matter. A Student's t
#: with more degrees of freedom holds hardly more than a normal distribution there.
MATTERS = 20.0
#: Relative error of an exponent.
NOISE = 0.05
#: The quartiles of a normal distribution are this number of standard deviations apart.
QUARTILES = 1.349


@dataclass(frozen=True)
class Lighter:
    """Where a flow falls faster than its target: names of coordinates, and both exponents."""

    along: list[str]
    target: float
    flow: float


@torch.no_grad()
def lighter(
    log_p: Callable[[Tensor], Tensor],
    log_q: Callable[[Tensor], Tensor],
    z: Tensor,
    names: Sequence[str],
    angles: Sequence[int] = (),
) -> Lighter | None:
    """Return where the flow's tails are lighter, along the ray where the target's are heaviest.

    Args:
        log_p: log density of the target, (any, dim) to (any,).
        log_q: log density of the flow.
        z: draws, (draws, dim).
        names: of the coordinates.
        angles: coordinates that are angles, in which there are no tails.
    """
    straight = [i for i in range(z.shape[1]) if i not in angles]
    if not straight:
        return None
    x = z[:, straight]
    low, centre, high = x.sort(0).values[[len(x) // 4, len(x) // 2, 3 * len(x) // 4]]
    sd = ((high - low) / QUARTILES).clamp(min=torch.finfo(z.dtype).tiny)
    standard = (x - centre) / sd
    far = standard[standard.norm(dim=1).topk(min(FAR_DRAWS, len(x))).indices]
    axes = torch.eye(len(straight)).to(z)
    directions = torch.cat([axes, -axes, far / far.norm(dim=1, keepdim=True)])
    start, steps = z[0].clone(), z.new_zeros(len(directions), z.shape[1])
    start[straight], steps[:, straight] = centre, sd * directions
    target = limits(falls(log_p, start, steps, DISTANCES), DISTANCES)
    flow = falls(log_q, start, steps, DISTANCES)[-1]
    size = torch.where(target > len(straight), len(straight), 1)
    shape = torch.where(flow.isinf(), 1.0, (flow - target) / (flow - size))
    beyond = (
        (flow > (1 + NOISE) * target)
        & (shape > FINITE_VARIANCE_KHAT)
        & (target < len(straight) + MATTERS)
    )
    if not bool(beyond.any()):
        return None
    heaviest = int(target.masked_fill(~beyond, torch.inf).argmin())
    part = directions[heaviest].abs()
    large = (part > 0.5 * part.max()).tolist()
    along = [names[i] for i, one in zip(straight, large, strict=True) if one]
    return Lighter(along, float(target[heaviest]), float(flow[heaviest]))
