"""Gaussians at the modes of a target: many starts, distinct modes apart, small ones dropped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow.vi.fitting.gaussian import Normal, match, pathfinder, standard
from invflow.vi.targets.density import Density

#: Nats below the best bound at which a mode is dropped. A Gaussian's bound can fall short of the
#: evidence of a curved mode by a few nats, hardly more.
DROPPED_BELOW = 12.0
#: Limits on the number of starts, and on the evaluations of the log density that they may take.
FEWEST_STARTS, MOST_STARTS = 16, 48
FEWEST_EVALUATIONS, MOST_EVALUATIONS = 20_000, 100_000
#: Distances of starts from the best mode, in its standard deviations, log-uniform.
NEAR_STARTS, FAR_STARTS = (3.0, 10.0), (10.0, 100.0)


@dataclass(frozen=True)
class Modes:
    """The result of a search.

    Args:
        normals: a Gaussian at each mode, best bound first.
        hits: number of starts that led to each mode.
        starts: number of starts.
        interrupted: whether Ctrl-C ended the search.
    """

    normals: list[Normal]
    hits: list[int]
    starts: int
    interrupted: bool


class _Basins:
    """One Gaussian for each mode found, and how often starts led to it."""

    def __init__(self) -> None:
        self.normals: list[Normal] = []
        self.hits: list[int] = []

    def add(self, normal: Normal, hits: int = 1) -> None:
        """Assign a Gaussian to the mode whose bulk it lies in, or to a new mode."""
        reach = 3 + math.sqrt(len(normal.location)) / 2
        for i, other in enumerate(self.normals):
            near = min(other.distance(normal.location), normal.distance(other.location))
            if near < reach:
                self.hits[i] += hits
                self.normals[i] = max(other, normal, key=lambda each: each.elbo)
                return
        self.normals.append(normal)
        self.hits.append(hits)

    @property
    def best(self) -> Normal:
        return max(self.normals, key=lambda normal: normal.elbo)

    def within(self, margin: float) -> list[int]:
        """Return the modes whose bound is within a margin of the best."""
        if not self.normals:
            return []
        least = self.best.elbo - margin
        return [i for i, normal in enumerate(self.normals) if normal.elbo > least]

    def complete(self, margin: float) -> bool:
        """Whether more starts are unlikely to help (Good-Turing: no mode was found only once)."""
        within = self.within(margin)
        return bool(within) and all(self.hits[i] > 1 for i in within)


def find_modes(
    density: Density,
    points: Tensor | None,
    generator: torch.Generator,
    report: Callable[[int, str], None],
) -> Modes:
    """Return a Gaussian at each mode worth keeping; after Ctrl-C, those found so far.

    Args:
        density: of the target.
        points: starting points, (count, dim); None for random points, until more are unlikely to
            help.
        generator: random numbers for starts, bounds and draws.
        report: called with the number of starts done, and a line on what they found.

    Raises:
        ValueError: if no start leads anywhere.
    """
    basins, starts = _Basins(), 0
    # Before the Gaussians are improved their bounds fall short by more, growing with dimension.
    rough = DROPPED_BELOW + 2 * density.target.dim
    interrupted = False
    try:
        for starts in _search(density, points, generator, basins, rough):
            report(starts, f"{len(basins.normals)} found")
    except KeyboardInterrupt:
        if not basins.normals:
            raise
        interrupted = True
    improved = _Basins()
    for i in basins.within(rough):
        normal = basins.normals[i]
        if not interrupted:
            try:
                normal = match(density, normal, generator)
            except KeyboardInterrupt:
                interrupted = True
        improved.add(normal, basins.hits[i])
    kept = sorted(improved.within(DROPPED_BELOW), key=lambda i: -improved.normals[i].elbo)
    if not kept:
        raise ValueError(
            "log_density must be finite in some region, and so must its gradient: none of "
            f"{starts} starting points leads to one; declare bounded parameters with vi.Named"
        )
    return Modes(
        [improved.normals[i] for i in kept],
        [improved.hits[i] for i in kept],
        starts,
        interrupted,
    )


def _search(
    density: Density,
    points: Tensor | None,
    generator: torch.Generator,
    basins: _Basins,
    rough: float,
) -> Iterator[int]:
    """Follow starts into the basins one by one, and yield the number done."""
    frame = standard(density.target.dim)
    for run in range(MOST_STARTS if points is None else len(points)):
        point = _start(run, frame, generator) if points is None else points[run]
        normal = pathfinder(density, point, frame, generator)
        if normal is not None and math.isfinite(normal.elbo):
            basins.add(normal)
            frame = basins.best
        yield run + 1
        if points is None and run + 1 >= FEWEST_STARTS:
            done = density.evaluations
            if done > MOST_EVALUATIONS or (done > FEWEST_EVALUATIONS and basins.complete(rough)):
                return


def _start(run: int, frame: Normal, generator: torch.Generator) -> Tensor:
    """Return a point uniform on [-2, 2]; in later runs also far out from the best mode."""
    dim = len(frame.location)
    if run < 4 or run % 3 == 0:
        return 4 * torch.rand(dim, generator=generator, dtype=torch.float64) - 2
    nearest, farthest = NEAR_STARTS if run % 3 == 1 else FAR_STARTS
    power = torch.rand((), generator=generator, dtype=torch.float64)
    distance = nearest * (farthest / nearest) ** power
    return frame.location + frame.scale @ (
        distance * torch.randn(dim, generator=generator).double()
    )
