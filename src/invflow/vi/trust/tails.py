r"""Whether a density falls off, looked at before anything is spent on it.

By Fubini's theorem a density with a finite integral has one along almost every line in a given
direction: from a random point on, it falls faster than 1 / r. It does not where it is constant far
out, rises, or repeats itself, as that of an angle on the real line does.

The largest values at some distances around r and around R, far beyond, are compared: they have to
differ by $\log (R / r)$ or more. What is not finite far out, or is next to nothing, has fallen;
unless it has not begun to where the exponential of a logarithm, or its square, overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from invflow._log_density import BadTarget
from invflow.vi.targets.density import Density
from invflow.vi.trust.importance import CHUNK
from invflow.vi.trust.probe import names

#: Powers of ten between which distances are, around r and around R: along an axis; and along
#: others, where one coordinate may be the difference of large ones.
AXES, OTHERS = ((6, 8), (15, 17)), ((2, 3), (8, 9))
#: At how many distances to look: first, and where the density has not fallen there.
FEW, MANY = 4, 32
#: How many turns are very many, and how far apart values are that rounding leaves the same there.
MANY_TURNS, SAME = 1e10, 1e-3
#: Where the exponential function overflows, and its square, in double precision; and how far before
#: and after that to look.
OVERFLOWS = [math.log(torch.finfo(torch.float64).max) / power for power in (1, 2)]
MARGIN = 5.0
#: Nats below the best value of a line that are next to nothing. There may be a plateau so low:
#: torch's simplex has one, where numbers underflow.
NOTHING = 35.0
#: Nats by which the fall may exceed that of 1 / r and still be no faster, for rounding.
SLACK = 0.1

Powers = tuple[int, int]
#: Whether the density does not fall along lines, (lines, dim), from a point, (dim,): (lines,).
Lasts = Callable[[Density, Tensor, Tensor], Tensor]


@torch.no_grad()
def check_tails(density: Density, points: Tensor, score: Tensor) -> None:
    """Refuse a log density that does not fall off along an axis, or where no gradient points.

    Args:
        density: of the target.
        points: at random, with a finite density, shape (points, dim).
        score: gradients at random points, shape (any, dim).

    Raises:
        ValueError: it does not.
    """
    axes = torch.eye(points.shape[1]).to(points)
    looks: list[tuple[Tensor, Lasts]] = [
        (axes, partial(_lasts, near=AXES[0], far=AXES[1])),
        (axes, _repeats),
        (axes, _lasts_until_overflow),
        (_unsloped(score), partial(_lasts, near=OTHERS[0], far=OTHERS[1])),
    ]
    for directions, lasts in looks:
        lines = torch.cat([directions, -directions])
        for point in points:
            lines = lines[lasts(density, point, lines)]
        if len(lines):
            along = ", ".join(_called(lines, names(density.target, points[0])))
            raise BadTarget(
                "log_density must fall off in every direction, got one that does not along "
                f"{along}: far out it is constant, rises or repeats itself, so that the posterior "
                "is improper. Add a proper prior, or remove what the data cannot tell apart; "
                "declare an angle (vi.angle) or bound it to one turn"
            )


def _called(lines: Tensor, found: list[str]) -> list[str]:
    """Return the names of the coordinates that make up most of some lines."""
    size = lines.abs()
    large = (size > 0.5 * size.amax(1, keepdim=True)).any(0).tolist()
    return [name for name, one in zip(found, large, strict=True) if one]


def _unsloped(score: Tensor) -> Tensor:
    """Return the directions, (any, dim), in which all gradients, (any, dim), are next to zero."""
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
    # Most lines end here.
    left = left[highest(left, far, FEW) > here - NOTHING]
    distant, middle = highest(left, far, MANY), highest(left, near, MANY)
    best = torch.maximum(highest(left, (-1, 3), MANY), middle)
    fall = (far[0] - near[0]) * math.log(10) + SLACK
    left = left[(distant > middle - fall) & (distant > best - NOTHING)]
    return torch.isin(torch.arange(len(lines)), left)


def _repeats(density: Density, point: Tensor, lines: Tensor) -> Tensor:
    """Return whether the density is the same one turn away, and very many turns."""
    here = density.exact(point.unsqueeze(0))
    repeats = torch.zeros(len(lines), dtype=torch.bool)
    for turn in (2 * math.pi, 360.0):
        there = _values(density, point, lines, turn * torch.tensor([1.0, MANY_TURNS]).double())
        repeats |= ((there - here).abs() < SAME * (1 + here.abs())).all(0)
    return repeats


def _lasts_until_overflow(density: Density, point: Tensor, lines: Tensor) -> Tensor:
    """Return whether the density has not fallen where it ceases to be finite."""
    here = density.exact(point.unsqueeze(0))
    lasts = torch.zeros(len(lines), dtype=torch.bool)
    for edge in OVERFLOWS:
        before = edge - MARGIN
        (halfway,) = _values(density, point, lines, torch.tensor([before / 2]))
        left = (halfway > here - NOTHING).nonzero().flatten()
        inside, outside = _values(
            density, point, lines[left], torch.tensor([before, edge + MARGIN])
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
        for part in lines.split(max(CHUNK // count, 1))
        if len(part)
    ]
    return torch.cat([*parts, point.new_zeros(count, 0)], 1)
