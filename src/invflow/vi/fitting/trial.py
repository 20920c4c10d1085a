"""Check a target before anything is spent on it."""

from __future__ import annotations

import torch

from invflow._log_density import BadTarget, check_consistent
from invflow.vi.targets.density import Density
from invflow.vi.trust.probe import names
from invflow.vi.trust.tails import check_tails

#: Scale of points far from the origin, relative to those nearby.
FAR_SCALE = 50.0
#: Number of points; up to this many dimensions there are enough to show directions without slope.
POINTS, MOST_DIMENSIONS = 32, 256
#: Number of points from which to look along lines.
LINE_POINTS = 2


def try_out(density: Density) -> None:
    """Refuse a log density that is random, mixes the vectors of a batch, or does not fall off.

    Raises:
        ValueError: if it is one of these.
    """
    dim, generator = density.target.dim, density.generator
    count = dim + POINTS // 2 if POINTS // 2 <= dim <= MOST_DIMENSIONS else POINTS
    near = 4 * torch.rand((count, dim), generator=generator).double() - 2
    value, score = density.scores(near)
    check_consistent(value, lambda rows: density.exact(near[rows]))
    _, far = density.scores(FAR_SCALE * near)
    used = (score != 0).any(0) | (far != 0).any(0)
    if bool(torch.isfinite(value).all()) and not bool(used.all()):
        places = (~used).nonzero().flatten().tolist()
        found = names(density.target, near[0])
        called = [found[i] for i in places]
        raise BadTarget(
            "log_density must depend on every entry of its vectors, got zero gradients at all "
            f"{2 * len(near)} points for entries {places} ({', '.join(called)}): the posterior "
            "is improper; add a prior, or remove these parameters"
        )
    good = torch.isfinite(value)
    if bool(good.any()):
        try:
            check_tails(density, near[good][:LINE_POINTS], score[good])
        except BadTarget:
            raise
        except Exception:  # a model may fail in any way this far out, and need not work there
            return
