"""Gaussians at the modes of a target: many starts, distinct modes apart, small ones dropped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from invflow.vi.fitting.matching import match
from invflow.vi.fitting.normal import Normal, standard
from invflow.vi.fitting.pathfinder import pathfinder
from invflow.vi.targets.density import Density

#: Nats below the best bound at which a mode is dropped. A Gaussian's bound can fall short of the
#: evidence of a curved mode by a few nats, hardly more.
DROPPED_BELOW = 12.0
#: Nats by which the bound of a Gaussian from a few draws has to exceed that of a better known one.
BETTER_BY = 1.0
#: Numbers of starts that are run side by side, until more are unlikely to help.
WAVES, FEWEST_STARTS = (1, 3, 12, 16, 32, 64), 32
#: Number of starts that are uniform on [-2, 2]; of those after them it is one in three.
UNIFORM_STARTS = 4
#: Starts in all for each mode found; with fewer it is not unlikely that one was never met.
STARTS_PER_MODE = 8
#: Numbers in the inverse Hessians of starts that are run side by side.
MOST_NUMBERS = 2**24
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
        i = self.place(normal)
        if i is None:
            self.normals.append(normal)
            self.hits.append(hits)
        else:
            self.hits[i] += hits
            self.normals[i] = max(self.normals[i], normal, key=lambda each: each.elbo)

    def place(self, normal: Normal) -> int | None:
        """Return the mode in whose bulk a Gaussian lies, if there is one."""
        reach = 3 + math.sqrt(len(normal.location)) / 2
        for i, other in enumerate(self.normals):
            near = min(other.distance(normal.location), normal.distance(other.location))
            if near < reach:
                return i
        return None

    @property
    def best(self) -> Normal:
        return max(self.normals, key=lambda normal: normal.elbo)

    def within(self, margin: float) -> list[int]:
        """Return the modes whose bound is within a margin of the best."""
        if not self.normals:
            return []
        least = self.best.elbo - margin
        return [i for i, normal in enumerate(self.normals) if normal.elbo > least]

    def complete(self, starts: int) -> bool:
        """Whether more starts are unlikely to help (Good-Turing: no mode was met only once)."""
        within = self.within(DROPPED_BELOW)
        enough = starts >= max(FEWEST_STARTS, STARTS_PER_MODE * len(within))
        return enough and bool(within) and all(self.hits[i] > 1 for i in within)


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
    found, starts, interrupted = _Basins(), 0, False
    try:
        for starts in _search(density, points, generator, found):
            report(starts, f"{len(found.normals)} found")
    except KeyboardInterrupt:
        if not found.normals:
            raise
        interrupted = True
    kept = sorted(found.within(DROPPED_BELOW), key=lambda i: -found.normals[i].elbo)
    if not kept:
        raise ValueError(
            "log_density must be finite in some region, and so must its gradient: none of "
            f"{starts} starting points leads to one; declare bounded parameters with vi.Named"
        )
    return Modes(
        [found.normals[i] for i in kept], [found.hits[i] for i in kept], starts, interrupted
    )


def _search(
    density: Density, points: Tensor | None, generator: torch.Generator, found: _Basins
) -> Iterator[int]:
    """Follow starts into the basins, improve each basin's Gaussian, and yield the number done."""
    dim = density.target.dim
    # Before Gaussians are improved their bounds fall short by more, growing with dimension.
    rough = DROPPED_BELOW + 2 * dim
    frame, done, start, best = standard(dim), 0, _Starts(dim, generator), -math.inf
    for count in WAVES if points is None else filter(None, (1, len(points) - 1)):
        if points is None:
            wave = torch.stack([start(done + i, frame) for i in range(count)])
        else:
            wave = points[done : done + count]
        for part in wave.split(max(1, MOST_NUMBERS // dim**2)):
            basins = _Basins()
            for normal in pathfinder(density, part, frame, generator):
                if normal is not None:
                    basins.add(normal)
            best = max([best, *(normal.elbo for normal in basins.normals)])
            for i in basins.within(rough):
                normal, hits = basins.normals[i], basins.hits[i]
                known = found.place(normal)
                if known is not None and normal.elbo < found.normals[known].elbo + BETTER_BY:
                    found.hits[known] += hits
                elif normal.elbo > best - rough:
                    found.add(match(density, normal, generator), hits)
            done += len(part)
            yield done
        if found.normals:
            frame = found.best
        if points is None and found.complete(done):
            return


class _Starts:
    """Starting points: uniform on [-2, 2] at first, then two of three far out from the best mode.

    Directions come from a Sobol sequence, in opposite pairs, so that no side is left out.
    """

    def __init__(self, dim: int, generator: torch.Generator) -> None:
        seed = int(torch.randint(2**31, (), generator=generator))
        self._directions = SobolEngine(dim, scramble=True, seed=seed)
        self._generator = generator
        self._opposite: Tensor | None = None

    def __call__(self, run: int, frame: Normal) -> Tensor:
        """Return the starting point of a run, (dim,), given the best mode so far."""
        dim = len(frame.location)
        if run < UNIFORM_STARTS or run % 3 == 0:
            return 4 * torch.rand(dim, generator=self._generator, dtype=torch.float64) - 2
        nearest, farthest = NEAR_STARTS if run % 3 == 1 else FAR_STARTS
        power = torch.rand((), generator=self._generator, dtype=torch.float64)
        distance = nearest * (farthest / nearest) ** power
        return frame.points(distance * self._direction())

    def _direction(self) -> Tensor:
        """Return a standard normal vector, (dim,)."""
        if self._opposite is not None:
            direction, self._opposite = self._opposite, None
            return direction
        uniform = self._directions.draw(1, dtype=torch.float64)[0]
        direction = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
        self._opposite = -direction
        return direction
