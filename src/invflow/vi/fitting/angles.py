r"""Posteriors over circles: the same search and flows as elsewhere, in a chart of each circle.

In it what is von Mises on the circle is a standard normal number (`Circles`). No density is lost,
and none counted twice: the evidence is that of the circle. A first search, in charts in which the
uniform distribution is the normal one, tells where a circle has least density, which is where it is
cut, and how much of it is around the opposite point.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from invflow.flows import Flow, FlowMixture, Wrapped
from invflow.flows.named import Named
from invflow.transforms import Circles
from invflow.transforms.circles import MOST
from invflow.vi.fitting.modes import find_modes
from invflow.vi.fitting.trial import try_out
from invflow.vi.posterior import Posterior
from invflow.vi.targets.density import Density
from invflow.vi.targets.guarded import Guarded
from invflow.vi.targets.sphere import wrapped
from invflow.vi.targets.target import Target
from invflow.vi.trust import probe

#: How many points the search for where to cut the circles sets out from.
STARTS = 8
#: How many draws of each mode tell where there is least, at how many places of a circle, seen with
#: a von Mises kernel of which concentration.
DRAWS, PLACES, WIDE = 1000, 360, 4.0
#: The mean resultant length from which there is next to nothing opposite of the mean direction.
CONCENTRATED = 0.8


class Charted(Target):
    """A target with angles, over vectors without any.

    Args:
        target: with angles.
        centre: of each circle, (angles,).
        concentration: of each, (angles,).
    """

    def __init__(self, target: Target, centre: Tensor, concentration: Tensor) -> None:
        self.target, self.dim = target, target.dim
        self.circles = Circles(target.dim, target.angles).double()
        self.circles.set(centre, concentration)

    def log_density(self, z: Tensor) -> Tensor:
        x, ladj = self.circles(z)
        return self.target.log_density(x) + ladj

    def estimate(self, z: Tensor, generator: torch.Generator) -> Tensor:
        x, ladj = self.circles(z)
        return self.target.estimate(x, generator) + ladj

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        return self.target.constrain(self.circles(z)[0])


def fit_charted(
    target: Target,
    fit: Callable[[Target, Tensor | None], Posterior],
    points: Tensor | None,
    seed: int,
) -> Posterior:
    """Return a fit of a target with angles.

    Args:
        target: with angles.
        fit: takes a target without, and where to start, (count, dim).
        points: where to start, (count, dim), angles as they are.
        seed: of the first search.
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
    """Return a target in charts that suit it, and the density whose evaluations found them."""
    angles, nowhere = list(target.angles), torch.zeros(len(target.angles))
    charted = Charted(target, nowhere, nowhere)
    generator, subsampling = (torch.Generator().manual_seed(seed) for _ in range(2))
    density = Guarded(charted, subsampling)
    try_out(density)
    if points is None:
        start = 4 * torch.rand((STARTS, target.dim), generator=generator).double() - 2
    else:
        start = charted.circles.inverse(points)[0]
    modes = find_modes(density, start, generator, lambda done, line: None)
    if modes.interrupted:  # there is no posterior yet
        raise KeyboardInterrupt
    normals = modes.normals
    draws = torch.cat(
        [charted.circles(normal.draw(DRAWS, generator)[0])[0][:, angles] for normal in normals]
    )
    shares = torch.tensor([normal.elbo for normal in normals], dtype=draws.dtype).softmax(0)
    weights = (shares / DRAWS).repeat_interleave(DRAWS).unsqueeze(-1)
    grid = torch.linspace(-math.pi, math.pi, PLACES + 1, dtype=draws.dtype)[:-1, None, None]
    smooth = (weights * torch.exp(WIDE * torch.cos(grid - draws))).sum(1)
    emptiest = grid[smooth.argmin(0), 0, 0]
    sine, cosine = ((weights * part).sum(0) for part in (draws.sin(), draws.cos()))
    concentrated = torch.hypot(sine, cosine) > CONCENTRATED
    centre = torch.where(concentrated, torch.atan2(sine, cosine), wrapped(emptiest + math.pi))
    lengths = (weights * torch.cos(draws - centre)).sum(0)
    return Charted(target, centre, _concentration(lengths)), density


def _concentration(length: Tensor) -> Tensor:
    """Return von Mises concentrations by mean cosines, rather too small than too large."""
    r = length.clamp(0.0, 0.95)
    kappa = r * (2 - r.square()) / (1 - r.square())  # Banerjee et al. 2005, JMLR 6, 1345
    return (0.9 * kappa).clamp(max=MOST)


def _wrapped(flow: Named, circles: Circles) -> Named:
    """Return a flow, or a mixture of some, with its angles on their circles."""
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
