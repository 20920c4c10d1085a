r"""Whether a density falls off, checked before anything is spent on it.

By Fubini's theorem a density with a finite integral has a finite integral along almost every line
in a given direction: from a random point, it falls faster than 1 / r. It does not if it is constant
far out, rises, or repeats itself, as that of an angle on the real line does.

The largest values at some distances around r and around R, much farther out, are compared: they
have to differ by $\log (R / r)$ or more. A density that is not finite far out, or negligible, has
fallen; unless it has not begun to fall where the exponential of a logarithm, or its square,
overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from invflow._log_density import BadTarget
from invflow.vi.targets.density import VECTORS_AT_ONCE, Density
from invflow.vi.trust.probe import names

#: Powers of ten of the distances around r and around R: along an axis, and along other directions,
#: where a coordinate may be a difference of large numbers.
ALONG_AXES, ALONG_OTHERS = ((6, 8), (15, 17)), ((2, 3), (8, 9))
#: Number of distances to look at: first, and along lines where the density has not fallen there.
FEW_DISTANCES, MANY_DISTANCES = 4, 32
#: A very large number of turns, and the relative difference that rounding makes there.
MANY_TURNS, ROUNDING = 1e10, 1e-3
#: Where the exponential function and its square overflow in double precision, and how far before
#: and after that to look.
OVERFLOWS = [math.log(torch.finfo(torch.float64).max) / power for power in (1, 2)]
OVERFLOW_MARGIN = 5.0
#: Nats below the best value of a line at which a density is negligible. There may be a plateau that
#: low: torch's simplex has one, where numbers underflow.
NEGLIGIBLE = 35.0
#: Nats by which a fall may exceed that of 1 / r through rounding.
SLACK = 0.1

Powers = tuple[int, int]
#: Whether the density fails to fall along lines, (lines, dim), from a point, (dim,): (lines,).
Lasts = Callable[[Density, Tensor, Tensor], Tensor]


@torch.no_grad()
def check_tails(density: Density, points: Tensor, score: Tensor) -> None:
    """Refuse a log density that does not fall off along an axis, or where no gradient points.

    Args:
        density: of the target.
        points: random points with a finite density, shape (points, dim).
        score: gradients at random points, shape (any, dim).

    Raises:
        ValueError: if it does not fall off.
    """
    axes = torch.eye(points.shape[1]).to(points)
    looks: list[tuple[Tensor, Lasts]] = [
        (axes, partial(_lasts, near=ALONG_AXES[0], far=ALONG_AXES[1])),
        (axes, _repeats),
        (axes, _lasts_until_overflow),
        (_unsloped(score), partial(_lasts, near=ALONG_OTHERS[0], far=ALONG_OTHERS[1])),
    ]
    for directions, lasts in looks:
        lines = torch.cat([directions, -directions])
        for point in points:
            lines = lines[lasts(density, point, lines)]
        if len(lines):
            along = ", ".join(_called(lines, names(density.target, points[0])))
            raise BadTarget(
                "log_density must fall off in every direction, got one that does not along "
                f"{along}: far out it is constant, rises or repeats itself, so the posterior is "
                "improper. Add a proper prior, or remove parameters that the data cannot "
                "identify; declare angles as vi.angle, or bound them to one turn"
            )


def _called(lines: Tensor, found: list[str]) -> list[str]:
    """Return the names of the coordinates that make up most of some lines."""
    size = lines.abs()
    large = (size > 0.5 * size.amax(1, keepdim=True)).any(0).tolist()
    return [name for name, one in zip(found, large, strict=True) if one]


def _unsloped(score: Tensor) -> Tensor:
    """Return the directions, (any, dim), in which all gradients, (any, dim), are nearly zero."""
    score = score[torch.isfinite(score).all(1) & (score != 0).any(1)]
    score = score / score.abs().amax(1, keepdim=True)
    if len(score) < score.shape[1]:
        return score[:0]
    size = score.abs().amax(0).clamp(min=1e-12)
    _, values, directions = torch.linalg.svd(score / size, full_matrices=False)
    directions = directions[values < 1e-6 * values[0]] / size
    return directions / directions.norm(dim=1, keepdim=True)


def _lasts(density: Density, point: Tensor, lines: Tensor, near: Powers, far: Powers) -> Tensor:
    """Return whether the highest values around R are those around r, or less by log(R / r)."""

    def highest(left: Tensor, powers: Powers, count: int) -> Tensor:
        return _values(density, point, lines[left], torch.logspace(*powers, count)).amax(0)

    here = density.exact(point.unsqueeze(0))
    left = torch.arange(len(lines))
    # Most lines are done after this look.
    left = left[highest(left, far, FEW_DISTANCES) > here - NEGLIGIBLE]
    distant, middle = highest(left, far, MANY_DISTANCES), highest(left, near, MANY_DISTANCES)
    best = torch.maximum(highest(left, (-1, 3), MANY_DISTANCES), middle)
    fall = (far[0] - near[0]) * math.log(10) + SLACK
    left = left[(distant > middle - fall) & (distant > best - NEGLIGIBLE)]
    return torch.isin(torch.arange(len(lines)), left)


def _repeats(density: Density, point: Tensor, lines: Tensor) -> Tensor:
    """Return whether the density is the same one turn away and a great many turns away."""
    here = density.exact(point.unsqueeze(0))
    repeats = torch.zeros(len(lines), dtype=torch.bool)
    for turn in (2 * math.pi, 360.0):
        there = _values(density, point, lines, turn * torch.tensor([1.0, MANY_TURNS]).double())
        repeats |= ((there - here).abs() < ROUNDING * (1 + here.abs())).all(0)
    return repeats


def _lasts_until_overflow(density: Density, point: Tensor, lines: Tensor) -> Tensor:
    """Return whether the density has not fallen before it stops being finite."""
    here = density.exact(point.unsqueeze(0))
    lasts = torch.zeros(len(lines), dtype=torch.bool)
    for edge in OVERFLOWS:
        before = edge - OVERFLOW_MARGIN
        (halfway,) = _values(density, point, lines, torch.tensor([before / 2]))
        left = (halfway > here - NEGLIGIBLE).nonzero().flatten()
        inside, outside = _values(
            density, point, lines[left], torch.tensor([before, edge + OVERFLOW_MARGIN])
        )
        fall = math.log(2) + SLACK
        lasts[left] |= (inside > halfway[left] - fall) & ~torch.isfinite(outside)
    return lasts


def _values(density: Density, point: Tensor, lines: Tensor, distances: Tensor) -> Tensor:
    """Return the log density at distances along lines from a point, (distances, lines)."""
    count = len(distances)
    steps = distances.to(point)[:, None, None]
    parts = [
        density.exact((point + steps * part).flatten(0, 1)).unflatten(0, (count, -1))
        for part in lines.split(max(VECTORS_AT_ONCE // count, 1))
        if len(part)
    ]
    return torch.cat([*parts, point.new_zeros(count, 0)], 1)
