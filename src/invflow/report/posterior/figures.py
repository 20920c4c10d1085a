"""Draws of a posterior, and the bound during its training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from invflow.report import figures
from invflow.vi.tables import unrolled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Largest number of parameters in the pair plot, and of marginals.
PAIRS, MARGINALS = 6, 24
#: Largest number of marginals side by side.
SIDE_BY_SIDE = 4


def bounds(rounds: Sequence[tuple[int, int, float]]) -> Figure:
    """Draw the bound against the step, a line for each mode.

    Args:
        rounds: mode, step and bound.
    """
    drawn, axes = figures.figure(1, 1, (7.5, 3.2))
    axis = axes[0, 0]
    modes = sorted({mode for mode, _, _ in rounds})
    for mode in modes:
        mine = [(step, bound) for k, step, bound in rounds if k == mode]
        axis.plot(*zip(*mine, strict=True), marker=".", label=f"mode {mode + 1}")
    axis.set(xlabel="step", ylabel="bound (nats)")
    axis.ticklabel_format(useOffset=False)
    axis.grid(alpha=0.25)
    if len(modes) > 1:
        axis.legend(frameon=False, fontsize=8)
    return drawn


def around(draws: Any, angular: Collection[str]) -> Any:
    """Return draws with angles counted from their mean direction, as in the summary.

    Args:
        draws: a table with a column for each number.
        angular: names of the parameters that are angles.
    """
    even = np.full(len(draws), 1 / len(draws))
    turned = {
        name: unrolled(draws[name].to_numpy(), even)
        for name in draws.columns
        if name.partition("[")[0] in angular
    }
    return draws.assign(**turned)


def pairs(draws: Any) -> Figure:
    """Draw the first parameters against each other."""
    names = list(draws.columns[:PAIRS])
    return figures.pairs(names, draws[names].to_numpy())


def marginals(draws: Any) -> Figure:
    """Draw a histogram of each parameter, with its median and central 94% interval."""
    names = list(draws.columns[:MARGINALS])
    wide = min(SIDE_BY_SIDE, len(names))
    high = -(-len(names) // wide)
    drawn, axes = figures.figure(high, wide, (2.1 * wide + 0.3, 1.7 * high + 0.3))
    for axis in axes.flat:
        axis.axis("off")
    for axis, name in zip(axes.flat, names, strict=False):
        axis.axis("on")
        values = draws[name].to_numpy()
        low, middle, top = np.quantile(values, [0.03, 0.5, 0.97])
        axis.hist(values, bins=50, color="#9ecae1", density=True)
        axis.axvspan(low, top, color=figures.BLUE, alpha=0.12, lw=0)
        axis.axvline(middle, color=figures.BLUE, lw=1)
        axis.set_title(figures.short(name, 26), fontsize=8)
        axis.set_yticks([])
        axis.tick_params(labelsize=6)
    return drawn
