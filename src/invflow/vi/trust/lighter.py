r"""Whether a flow's tails are lighter than its target's, along rays through its draws.

Where a target falls like $r^{-a}$ and the flow like $r^{-b}$, the weights have a tail of shape

$$k = \frac{b - a}{b - d} ,$$

with d = D, or d = 1 along a ridge of a density that has a < D; k = 1 if the flow falls faster than
any power. Above one half their variance is infinite, however well the bulk is matched, and as no
draw lies where they are large, k-hat need not show it. The exponents of both (`exponents`) are
measured along the axes, and from the median of the draws through those farthest out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow.vi.trust.exponents import exponents

#: Draws farthest out whose rays are looked along.
FAR_DRAWS = 16
#: How much the exponent may exceed the number of dimensions for a tail to matter: a Student's t with
#: more degrees of freedom has no mass where a normal distribution has none.
MATTERS = 20.0
#: Shape of the tail of weights above which they have no variance.
INFINITE_VARIANCE = 0.5
#: The quartiles of a normal distribution are this number of standard deviations apart.
QUARTILES = 1.349


@dataclass(frozen=True)
class Lighter:
    """Where a flow falls faster than its target: names, and the exponents, infinite if by none."""

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
    levels = torch.tensor([0.25, 0.5, 0.75]).to(z)
    low, centre, high = z.quantile(levels, 0)
    sd = ((high - low) / QUARTILES).clamp(min=torch.finfo(z.dtype).tiny)
    sd[list(angles)] = 0.0
    axes = sd.diag()[sd > 0]
    offsets = (z - centre).masked_fill(sd == 0, 0.0)
    distances = (offsets / sd).nan_to_num(0.0).norm(dim=1)
    far = distances.topk(min(FAR_DRAWS, len(z))).indices
    rays = offsets[far] / distances[far].unsqueeze(1)
    steps = torch.cat([axes, -axes, rays[rays.isfinite().all(1)]])
    target, flow = (exponents(each, centre, steps) for each in (log_p, log_q))
    dim = z.shape[1]
    size = torch.where(target > dim, dim, 1)
    shape = torch.where(flow.isinf(), 1.0, (flow - target) / (flow - size))
    matters = (target < dim + MATTERS) & (shape > INFINITE_VARIANCE)
    if not bool(matters.any()):
        return None
    heaviest = int(target.masked_fill(~matters, torch.inf).argmin())
    part = (steps[heaviest] / sd).nan_to_num(0.0).abs()
    large = (part > 0.5 * part.max()).tolist()
    along = [name for name, one in zip(names, large, strict=True) if one]
    return Lighter(along, float(target[heaviest]), float(flow[heaviest]))
