"""Gaussians at the modes of a target: many starts, modes kept apart, negligible ones dropped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from invflow.vi.fitting.gaussian import Normal, match, pathfinder, standard
from invflow.vi.targets.density import Density

#: Nats below the best bound from which a mode is left out. A Gaussian's bound can be a few nats
#: short of the evidence of a curved mode, hardly more.
NEGLIGIBLE = 12.0
#: Starts; and evaluations of the log density, before which there are more, and after which not.
FEWEST_STARTS, MOST_STARTS = 16, 48
FEWEST_EVALUATIONS, MOST_EVALUATIONS = 20_000, 100_000
#: How far out starts are, in the best mode's standard deviations: between which, evenly in logs.
NEAR, FAR = (3.0, 10.0), (10.0, 100.0)


@dataclass(frozen=True)
class Modes:
    """What a search has found.

    Args:
        normals: a Gaussian at each mode, the one with the best bound first.
        hits: how many starts have led to each.
        starts: how many there were.
        interrupted: whether the search was ended by Ctrl-C.
    """

    normals: list[Normal]
    hits: list[int]
    starts: int
    interrupted: bool


class _Basins:
    """Gaussians that starts have led to, those of one mode together, and how often each."""

    def __init__(self) -> None:
        self.normals: list[Normal] = []
        self.hits: list[int] = []

    def add(self, normal: Normal, hits: int = 1) -> None:
        """Count a Gaussian to the mode whose bulk it lies in, or as a mode of its own."""
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
        """Return which modes have a bound less than the margin below the best."""
        if not self.normals:
            return []
        least = self.best.elbo - margin
        return [i for i, normal in enumerate(self.normals) if normal.elbo > least]

    def complete(self, margin: float) -> bool:
        """Whether more starts promise nothing new (Good and Turing: no mode was met only once)."""
        within = self.within(margin)
        return bool(within) and all(self.hits[i] > 1 for i in within)


def find_modes(
    density: Density,
    points: Tensor | None,
    generator: torch.Generator,
    report: Callable[[int, str], None],
) -> Modes:
    """Return a Gaussian at each mode worth keeping. Ctrl-C ends the search with those found so far.

    Args:
        density: of the target.
        points: where to start, (count, dim); None for random points, until they promise nothing
            new.
        generator: random numbers for starts, bounds and draws.
        report: told how many starts are done, and what they have found.

    Raises:
        ValueError: no start leads anywhere.
    """
    basins, starts = _Basins(), 0
    # Before they are improved, bounds can be short by more, the more so the more dimensions.
    rough = NEGLIGIBLE + 2 * density.target.dim
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
    kept = sorted(improved.within(NEGLIGIBLE), key=lambda i: -improved.normals[i].elbo)
    if not kept:
        raise ValueError(
            f"log_density: none of {starts} starting points leads to a region where it and its "
            "gradient are finite all around; parameters with bounds need a vi.Named"
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
    """Follow one start after the other into the basins, and give how many are done."""
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
    nearest, farthest = NEAR if run % 3 == 1 else FAR
    share = torch.rand((), generator=generator, dtype=torch.float64)
    far = nearest * (farthest / nearest) ** share
    return frame.location + frame.scale @ (far * torch.randn(dim, generator=generator).double())
