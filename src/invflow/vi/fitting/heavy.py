r"""A start for a flow: a normal distribution, or a Student's t where the target's tails are heavy.

Under normal noise the importance weights of a target whose tails fall like a power have no bound,
whatever a flow makes of its bulk. So the exponents of the tails (`trust/exponents.py`) are measured
along a column for each coordinate, which runs along a ridge if the tails have one: $\nu + 1$ for a
tail of its own, $\nu + D$ for D coordinates that are large together. Along the diagonals between
columns the exponents add up in the first case, and are the same in the second.

The scale of a Student's t is that of its scores. With $s = -u \, \partial \log p / \partial u$,

$$s = \frac{(\nu + 1) u^2}{\nu \sigma^2 + u^2} \quad\Longrightarrow\quad
\sigma^2 = \frac{u^2}{\nu} \Big(\frac{\nu + 1}{s} - 1\Big),$$

and for D coordinates together the same with $|u|^2$, $-u^\top \nabla \log p$ and $\nu + D$.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from invflow.vi.fitting.normal import Normal
from invflow.vi.targets.density import Density
from invflow.vi.trust.exponents import falls, limits

#: Degrees of freedom above which a tail counts as a normal's, and the fewest that noise gets.
MOST_DF, FEWEST_DF = 50.0, 0.5
#: Distances in standard deviations at which tails are measured: a wide prior may take over beyond.
DISTANCES = (10.0, 30.0, 90.0)
#: Nats by which the density has to be lower along an axis than along a ridge beside it.
HIGHER = 0.02
#: Distances at which columns turn to ridges, from near, where a ridge is found, to far, where it
#: fixes the direction; the number of steps at each, their size, and how far a column may turn.
RIDGE_DISTANCES, RIDGE_STEPS, RIDGE_RATE, MOST_TURN = (10.0, 50.0, 250.0, 1000.0), 4, 0.5, 10.0
#: Diagonals between heavy coordinates to look along, and points for the scales.
DIAGONALS, POINTS = 8, 128
#: Largest factor between a scale and that of the normal distribution.
MOST_SCALE = 10.0


@dataclass(frozen=True)
class Start:
    """Location (dim,), scale (dim, dim), lower triangular, and base of a flow before training."""

    location: Tensor
    scale: Tensor
    base: str | Mapping[str, Any] = "normal"


class _Tail(NamedTuple):
    """Coordinates that are large together, and their degrees of freedom."""

    places: list[int]
    df: float


def start(density: Density, normal: Normal, generator: torch.Generator) -> Start:
    """Return a start with the tails of the target: the normal distribution where they are light.

    Args:
        density: of the target.
        normal: a normal distribution at a mode.
        generator: random numbers for the directions and points where tails and scales are measured.
    """
    columns, powers = _along_coordinates(density, normal)
    tails = _tails(density, normal.location, columns, powers, generator)
    if not tails:
        return Start(normal.location, normal.scale)
    heavy = [place for tail in tails for place in tail.places]
    scale = normal.scale.clone()
    scale[:, heavy] = columns[:, heavy]
    u = torch.randn((POINTS, len(scale)), generator=generator).to(scale)
    _, score = density.scores(normal.location + u @ scale.mT)
    fall = -u * (score @ scale)
    for tail in tails:
        scale[:, tail.places] *= _sigma(tail, u[:, tail.places], fall[:, tail.places].sum(1))
    return Start(normal.location, scale, _base(len(scale), tails))


def _along_coordinates(density: Density, normal: Normal) -> tuple[Tensor, Tensor]:
    """Return columns for the scale, (dim, dim), and the exponent along each, (dim,).

    A column is the part of the Cholesky factor's along the axis or, where the density is clearly
    higher far out, the whole of it, bent to the ridge.
    """
    axes, bent = normal.scale.diagonal().diag(), _bent(density, normal)
    columns = torch.stack([bent.mT, axes])
    both = torch.stack([columns, -columns], 1).flatten(0, 2)
    powers = _exponents(density, normal.location, both).unflatten(0, (2, 2, -1)).amin(1)
    far = density.exact(normal.location + DISTANCES[-1] * both).unflatten(0, (2, 2, -1)).mean(1)
    aside = far[1] > far[0] - HIGHER
    return torch.where(aside, axes, bent), torch.where(aside, powers[1], powers[0])


def _exponents(density: Density, centre: Tensor, steps: Tensor) -> Tensor:
    return limits(falls(density.exact, centre, steps, DISTANCES), DISTANCES)


def _bent(density: Density, normal: Normal) -> Tensor:
    """Return the columns of the Cholesky factor, (dim, dim), each turned to where p is largest.

    Far out along a column the later coordinates, whose scales are one, follow their scores: a
    column that is off by a little leaves a ridge that it should run along.
    """
    dim = len(normal.location)
    later = torch.ones(dim, dim).to(normal.scale).triu(1)
    u = torch.eye(dim).to(normal.scale)
    for distance in RIDGE_DISTANCES:
        for _ in range(RIDGE_STEPS):
            _, score = density.scores(normal.points(distance * u))
            turn = later * (RIDGE_RATE / distance) * (score @ normal.scale)
            u = (u + turn).clamp(-MOST_TURN, MOST_TURN)
    return (u @ normal.scale.mT).mT


def _tails(
    density: Density, centre: Tensor, columns: Tensor, powers: Tensor, generator: torch.Generator
) -> list[_Tail]:
    """Return the heavy tails along columns, (dim, dim), with these exponents, (dim,).

    Along diagonals between the columns the exponents add up, unless it is the tail of all of them.
    """
    heavy = powers.isfinite().nonzero().flatten().tolist()
    heavy = [place for place in heavy if powers[place] < MOST_DF + len(heavy)]
    tails = [_Tail([place], float(powers[place]) - 1) for place in heavy]
    if len(heavy) > 1:
        signs = 2 * torch.randint(2, (DIAGONALS, len(heavy)), generator=generator).to(columns) - 1
        steps = signs / math.sqrt(len(heavy)) @ columns[:, heavy].mT
        power = float(_exponents(density, centre, steps).median())
        if power < float(powers[heavy].max() + powers[heavy].sum()) / 2:
            tails = [_Tail(heavy, power - len(heavy))]
    return [_Tail(tail.places, max(tail.df, FEWEST_DF)) for tail in tails if tail.df <= MOST_DF]


def _sigma(tail: _Tail, u: Tensor, fall: Tensor) -> float:
    """Return the scale of a tail: the median over points u, (points, any), by their fall s."""
    ratio = torch.where(fall > 0, (tail.df + u.shape[1]) / fall - 1, torch.inf)
    square = float((u.square().sum(1) * ratio / tail.df).median())
    return math.sqrt(min(max(square, MOST_SCALE**-2), MOST_SCALE**2))


def _base(dim: int, tails: Sequence[_Tail]) -> Mapping[str, Any]:
    """Return the configuration of a base with Student's t noise in the heavy coordinates."""
    groups: dict[tuple[str, float], list[int]] = {}
    for places, df in tails:
        name = "student-t" if len(places) == 1 else "multivariate-student-t"
        groups.setdefault((name, float(f"{df:.1e}")), []).extend(places)
    bases: list[Any] = [{"name": name, "df": df} for name, df in groups]
    if light := sorted({*range(dim)}.difference(*groups.values())):
        return {
            "name": "product",
            "groups": [*groups.values(), light],
            "bases": [*bases, "normal"],
        }
    if len(groups) == 1:
        return bases[0]
    return {"name": "product", "groups": list(groups.values()), "bases": bases}
