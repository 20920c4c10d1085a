r"""A search where a flow does not go: importance weights cannot see what it misses.

*Mass outside*: the flow with its noise scaled by 1.5 to 12 draws points $z_i$ with density $q_s$
where the flow itself hardly ever draws. With r the largest weight p / q among the flow's own draws,
the mass where the weight is twice as large is estimated by

$$\hat Z_{\text{out}} = \frac1n \sum_i \frac{p(z_i)}{q_s(z_i)}\,
\Big[\frac{p(z_i)}{q(z_i)} > 2 r\Big] .$$

*Ignored parameters*: the gradient is zero at all draws. *Improper directions*: a proper density
falls faster than 1 / r in every direction, and faster than $r^{-D}$ in nearly every one.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from invflow.flows import Flow, FlowMixture
from invflow.flows.named import Named
from invflow.vi.targets.density import VECTORS_AT_ONCE, Density
from invflow.vi.targets.target import Target

#: Factors by which the noise of the wider search is scaled.
NOISE_SCALES = (1.5, 2.0, 3.0, 6.0, 12.0)
#: Nats above the largest weight from which mass counts as missed.
MISSED_MARGIN = math.log(2)
#: A density has to fall between the root of this number of standard deviations and the number.
FARTHEST = 1e6
#: Lines in random directions to look along.
RANDOM_DIRECTIONS = 4


@torch.no_grad()
def log_mass_outside(
    flow: Named, density: Density, largest: float, count: int, generator: torch.Generator
) -> float:
    """Return the log of the mass where p / q is far larger than among the flow's own draws.

    Args:
        flow: a `Flow` or a `FlowMixture`.
        density: of the target.
        largest: the largest log p - log q among the flow's draws.
        count: number of points.
        generator: random numbers.
    """
    terms: list[Tensor] = []
    for start in range(0, count, VECTORS_AT_ONCE):
        z, log_q, log_wide = _wide_draws(flow, min(VECTORS_AT_ONCE, count - start), generator)
        log_p = density.exact(z)
        # log q may be -inf this far out.
        usable = torch.isfinite(log_wide) & torch.isfinite(log_p)
        outside = usable & ~(log_p - log_q <= largest + MISSED_MARGIN)
        terms.append(torch.where(outside, log_p - log_wide, -torch.inf))
    return float(torch.cat(terms).logsumexp(0)) - math.log(count)


def parts(flow: Named) -> tuple[list[Flow], Tensor]:
    """Return the flows that a flow is a mixture of, and their log weights."""
    if isinstance(flow, FlowMixture):
        flows = [part for part in flow.flows if isinstance(part, Flow)]
        return flows, flow.logits.detach().double().log_softmax(-1)
    if not isinstance(flow, Flow):
        raise TypeError(f"flow must be a Flow or a FlowMixture, got {type(flow).__name__}")
    return [flow], torch.zeros(1, dtype=torch.float64, device=flow.like.device)


def _wide_draws(
    flow: Named, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return draws of the flow with wider noise, and both log densities of each."""
    flows, log_weights = parts(flow)
    which = torch.multinomial(log_weights.exp(), count, True, generator=generator)
    at = torch.randint(len(NOISE_SCALES), (count,), generator=generator, device=which.device)
    scale = torch.tensor(NOISE_SCALES, device=which.device)[at].unsqueeze(-1)
    drawn: list[tuple[Tensor, Tensor, Tensor]] = []
    for k, part in enumerate(flows):
        spread = scale[which == k]
        like = part.like
        shape = (len(spread),)
        u = part.base.sample(shape, dtype=like.dtype, device=like.device, generator=generator)
        u = u * spread.to(u)
        x, ladj = part.transform(u)
        drawn.append((u, x, -ladj))
    z = torch.cat([x for _, x, _ in drawn])
    pairs: list[tuple[Tensor, Tensor]] = []
    for k, part in enumerate(flows):
        # A part's own draws keep their noise: no inverse recovers it this far out.
        back = [
            (u, ladj) if k == j else part.transform.inverse(x)
            for j, (u, x, ladj) in enumerate(drawn)
        ]
        u, ladj = (torch.cat(each) for each in zip(*back, strict=True))
        pairs.append(_log_densities(part, u, ladj + log_weights[k].to(ladj)))
    log_q, log_wide = (
        torch.stack(each).nan_to_num(-torch.inf) for each in zip(*pairs, strict=True)
    )
    return z, log_q.logsumexp(0), log_wide.logsumexp(0)


def _log_densities(flow: Flow, u: Tensor, ladj: Tensor) -> tuple[Tensor, Tensor]:
    """Return log densities at noise u: of the flow, and of the flow with wider noise."""
    spread = torch.stack(
        [flow.base.log_prob(u / s) - flow.features * math.log(s) for s in NOISE_SCALES]
    )
    return (
        flow.base.log_prob(u) + ladj,
        spread.logsumexp(0) - math.log(len(NOISE_SCALES)) + ladj,
    )


def ignored(score: Tensor) -> list[int]:
    """Return the coordinates in which the log density has no gradient at any draw.

    Args:
        score: gradients at draws with a finite density, shape (draws, dim).
    """
    return (score == 0).all(0).nonzero().flatten().tolist() if len(score) else []


def improper(density: Density, z: Tensor, log_p: Tensor, score: Tensor) -> list[int]:
    """Return the coordinates along which the log density does not fall far out.

    It is evaluated from the best draw along the axes, the principal directions of the draws, those
    of the gradients (a direction that no gradient points along is flat), and some random ones.

    Args:
        density: of the target.
        z: draws with a finite density, shape (draws, dim).
        log_p: their log density, shape (draws,).
        score: its gradients at some of them, shape (any, dim).
    """
    # Around a circle a density need not fall.
    straight = [i for i in range(z.shape[1]) if i not in density.target.angles]
    if len(z) < 2 or not len(score) or not straight:
        return []
    centre = z[log_p.argmax()]
    sd = z[:, straight].std(0).clamp(min=1e-300)
    standard = (z[:, straight] - z[:, straight].mean(0)) / sd
    scaled = score[:, straight] * sd
    _, wide = torch.linalg.eigh(standard.mT @ standard)
    _, flat = torch.linalg.eigh(scaled.mT @ scaled)
    generic = torch.randn((RANDOM_DIRECTIONS, len(sd)), generator=density.generator).to(z)
    generic = generic / generic.norm(dim=1, keepdim=True)
    directions = torch.cat([torch.eye(len(sd)).to(z), wide.mT, flat.mT, generic])
    # A single line may fall like 1 / r; nearly every line has to fall like r to the power of -D.
    powers = torch.ones(len(directions)).to(z)
    powers[-RANDOM_DIRECTIONS:] = len(sd)
    steps = z.new_zeros(2 * len(directions), z.shape[1])
    steps[:, straight] = torch.cat([sd * directions, -sd * directions])
    near, far = (density.exact(centre + reach * steps) for reach in (math.sqrt(FARTHEST), FARTHEST))
    least = powers.repeat(2) * math.log(FARTHEST)
    # After a much larger fall it may rise a little: a line may enter the mouth of a funnel.
    deep = log_p.max() - far > 2 * least + 10
    falls = ((near - far > least / 2 + 1e-3) | deep).unflatten(0, (2, -1)).all(0)
    # A direction is named by the coordinates that make up most of it.
    size = directions[~falls].abs()
    large = (size > 0.5 * size.amax(-1, keepdim=True)).any(0)
    return [place for place, one in zip(straight, large.tolist(), strict=True) if one]


def names(target: Target, z: Tensor) -> list[str]:
    """Return a name for each coordinate of the vectors: the quantity that changes with it.

    Args:
        target: what gives the coordinates their meaning.
        z: one vector, shape (dim,).
    """
    moved = torch.cat([z.unsqueeze(0), z + 0.5 * torch.eye(len(z)).to(z)])
    found = {f"z[{i}]": list[str]() for i in range(len(z))}
    for name, value in target.constrain(moved).items():
        flat = value.detach().reshape(len(moved), -1)
        changed = (flat[1:] != flat[:1]).sum(1).tolist()
        for called, entries, row in zip(found.values(), changed, flat[1:] != flat[:1], strict=True):
            if entries == 1 and value.ndim > 1:
                # PyTorch's own imports SymPy, for which a first verdict would have to wait.
                index = np.unravel_index(int(row.nonzero()[0, 0]), value.shape[1:])
                called.append(f"{name}[{', '.join(map(str, map(int, index)))}]")
            elif entries:
                called.append(name)
    return [called[0] if called else place for place, called in found.items()]
