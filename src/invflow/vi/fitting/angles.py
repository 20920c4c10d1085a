"""Posteriors with angles: the usual search and flows, in a chart of each circle.

The chart takes a von Mises distribution to a standard normal one (`Circles`). The whole circle is
covered exactly once, so that the evidence is that of the circle. Two searches in charts that take
the uniform distribution to the normal one find where to cut each circle, which is where it has the
least density, and how concentrated the density is around the opposite point.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from invflow.flows import Flow, FlowMixture, Wrapped
from invflow.flows.named import Named
from invflow.transforms import Circles
from invflow.transforms.circles import MOST
from invflow.vi.fitting.modes import find_modes
from invflow.vi.fitting.trial import try_out
from invflow.vi.posterior import Posterior
from invflow.vi.targets.charted import Charted
from invflow.vi.targets.density import Density
from invflow.vi.targets.guarded import Guarded
from invflow.vi.targets.sphere import wrapped
from invflow.vi.targets.target import Target
from invflow.vi.trust import probe

#: Starting points of each search for charts.
STARTS = 8
#: Where a circle has the least density is looked up on a grid, by a von Mises kernel over draws of
#: each mode.
DRAWS_PER_MODE, GRID_POINTS, KERNEL_CONCENTRATION = 1000, 360, 4.0
#: Mean resultant length above which there is next to nothing opposite the mean direction.
CONCENTRATED = 0.8


def fit_charted(
    target: Target,
    fit: Callable[[Target, Tensor | None], Posterior],
    points: Tensor | None,
    seed: int,
) -> Posterior:
    """Return the posterior of a target with angles.

    Args:
        target: a target with angles.
        fit: takes a target without angles and its starting points, (count, dim).
        points: starting points, (count, dim), with angles in radians.
        seed: random seed of the searches for charts.
    """
    started = time.perf_counter()
    charted, spent = _chart(target, points, seed)
    found = fit(charted, None if points is None else charted.circles.inverse(points)[0])
    record = found.record
    if record is not None:
        record = replace(
            record,
            evaluations=record.evaluations + spent.evaluations,
            non_finite=record.non_finite + spent.rejected,
            seconds=time.perf_counter() - started,
            modes=[_placed(mode, charted.circles) for mode in record.modes],
        )
    return Posterior(target, _wrapped(found.flow, charted.circles), seed=seed, record=record)


def _chart(target: Target, points: Tensor | None, seed: int) -> tuple[Charted, Density]:
    """Return the target in suitable charts, and the density whose evaluations found them."""
    zeros = torch.zeros(len(target.angles))
    generator, subsampling = (torch.Generator().manual_seed(seed) for _ in range(2))
    density = Guarded(Charted(target, zeros, zeros), subsampling)
    try_out(density)
    centre, _ = _looked(density, points, generator)
    # Where a chart cuts through the bulk, a search may miss a part of it. The second does not.
    density.target = Charted(target, centre, zeros)
    centre, lengths = _looked(density, points, generator)
    return Charted(target, centre, _concentration(lengths)), density


def _looked(
    density: Density, points: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the point opposite to where to cut each circle, and the mean cosine around it."""
    charted = cast(Charted, density.target)
    if points is None:
        start = 4 * torch.rand((STARTS, charted.dim), generator=generator).double() - 2
    else:
        start = charted.circles.inverse(points)[0]
    modes = find_modes(density, start, generator, lambda done, line: None)
    if modes.interrupted:  # before there is a posterior to return
        raise KeyboardInterrupt
    normals = modes.normals
    draws = torch.cat(
        [
            charted.circles(normal.draw(DRAWS_PER_MODE, generator)[0])[0][:, charted.circles.angles]
            for normal in normals
        ]
    )
    shares = torch.tensor([normal.elbo for normal in normals], dtype=draws.dtype).softmax(0)
    weights = (shares / DRAWS_PER_MODE).repeat_interleave(DRAWS_PER_MODE).unsqueeze(-1)
    grid = torch.linspace(-math.pi, math.pi, GRID_POINTS + 1, dtype=draws.dtype)[:-1, None, None]
    smooth = (weights * torch.exp(KERNEL_CONCENTRATION * torch.cos(grid - draws))).sum(1)
    emptiest = grid[smooth.argmin(0), 0, 0]
    sine, cosine = ((weights * part).sum(0) for part in (draws.sin(), draws.cos()))
    concentrated = torch.hypot(sine, cosine) > CONCENTRATED
    centre = torch.where(concentrated, torch.atan2(sine, cosine), wrapped(emptiest + math.pi))
    return centre, (weights * torch.cos(draws - centre)).sum(0)


def _concentration(length: Tensor) -> Tensor:
    """Return von Mises concentrations for mean cosines, erring on the small side."""
    r = length.clamp(0.0, 0.95)
    kappa = r * (2 - r.square()) / (1 - r.square())  # Banerjee et al. 2005, JMLR 6, 1345
    return (0.9 * kappa).clamp(max=MOST)


def _wrapped(flow: Named, circles: Circles) -> Named:
    """Return a flow, or a mixture of flows, with its angles on their circles."""
    parts, log_weights = probe.parts(flow)
    around: list[Flow] = []
    for part in parts:
        around.append(onto := Wrapped(part, circles.angles))
        onto.set(circles.centre, circles.concentration)
    if len(around) == 1:
        return around[0]
    mixture = FlowMixture(around).to(around[0].like)
    with torch.no_grad():
        mixture.logits.copy_(log_weights)
    return mixture


def _placed(mode: dict[str, Any], circles: Circles) -> dict[str, Any]:
    location = torch.tensor(mode["location"], dtype=torch.float64)
    return {**mode, "location": circles(location)[0].tolist()}
