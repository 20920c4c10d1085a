"""Draws of a posterior, and the bound during its training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from invflow.report import figures
from invflow.report.figures import Curve
from invflow.report.page import Explore, Panel
from invflow.vi.tables import unrolled

#: Largest number of parameters in the pair plot, and of marginals.
PAIRS, MARGINALS = 6, 24
#: Largest number of draws to zoom into.
POINTS = 2000
#: Size of a marginal in inches.
SIZE = (1.7, 1.4)


def bounds(rounds: Sequence[tuple[int, int, float]], label: str = "") -> dict[str, Curve]:
    """Return the bound against the step, a line for each mode.

    Args:
        rounds: mode, step and bound.
        label: before the number of the mode.
    """
    lines: dict[str, Curve] = {}
    for mode in sorted({mode for mode, _, _ in rounds}):
        mine = [(step, bound) for k, step, bound in rounds if k == mode]
        steps, values = zip(*mine, strict=True)
        lines[f"{label}mode {mode + 1}"] = Curve(steps, (), values)
    return lines


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


def pairs(draws: Any) -> Panel:
    """Draw the first parameters against each other."""
    names = list(draws.columns[:PAIRS])
    return figures.pairs(names, draws[names].to_numpy())


def closer(draws: Any) -> Explore:
    """Return the same draws, to choose and to zoom into."""
    names = list(draws.columns[:PAIRS])
    return figures.closer(names, {"draws": draws[names].to_numpy()[:POINTS]})


def marginals(draws: Any) -> list[Panel]:
    """Draw a histogram of each parameter, with its median and central 94% interval."""
    panels: list[Panel] = []
    for name in draws.columns[:MARGINALS]:
        drawn, axes = figures.figure(1, 1, SIZE)
        axis = axes[0, 0]
        values = draws[name].to_numpy()
        low, middle, top = np.quantile(values, [0.03, 0.5, 0.97])
        axis.hist(
            values, bins=50, color=figures.BLUE, alpha=0.5, density=True, histtype="stepfilled"
        )
        axis.axvspan(low, top, color=figures.BLUE, alpha=0.15, lw=0)
        axis.axvline(middle, color="black", lw=1)
        axis.set_yticks([])
        axis.tick_params(labelsize=8)
        axis.locator_params(axis="x", nbins=4)
        alt = f"Histogram of {name}: median {middle:.3g}, central 94% from {low:.3g} to {top:.3g}."
        panels += [Panel(drawn, alt, str(name))]
    return panels
