"""The report of a posterior."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invflow.report import page
from invflow.vi.posterior import Posterior
from invflow.vi.tables import unrolled
from invflow.vi.trust.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: How many parameters the pair plot and the marginals show.
PAIRS, MARGINALS = 6, 24


def write(
    posterior: Posterior, verdict: Verdict, summary: Any, draws: Any, path: Path, title: str
) -> None:
    """Write the page.

    Args:
        posterior: what it is about.
        verdict: its verdict.
        summary: its table of parameters.
        draws: a table of draws, a column for each number.
        path: of the page.
        title: of the page.

    Raises:
        ImportError: matplotlib or Jinja is not installed.
    """
    record, draws = posterior.record, around(draws, posterior.target.angular)
    sections = [
        page.Section(f"Verdict: {verdict.level}", code=str(verdict)),
        page.Section("Parameters", table=_table(summary)),
        page.Section(
            "Pairs",
            picture=page.encoded(pairs(draws)),
            text=f"Importance-resampled draws; the first {PAIRS} parameters at most.",
        ),
        page.Section(
            "Marginals",
            picture=page.encoded(marginals(draws)),
            text=f"Shaded: the middle 94%; line: the median. The first {MARGINALS} at most.",
        ),
    ]
    lead = f"{posterior.target.dim} unconstrained dimensions, seed {posterior.seed}"
    if record is not None:
        lead += f", {record.evaluations} evaluations of the log density, {record.seconds:.0f} s"
        if record.bounds:
            picture = page.encoded(curves(record.bounds))
            text = "The bound on the log evidence after each round of training, the best so far."
            sections.insert(2, page.Section("Training", picture=picture, text=text))
    page.write(path, title, lead, sections)


def curves(bounds: list[tuple[int, int, float]]) -> Figure:
    """Draw the bound against the step, a line for each mode."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.2))
    axis = figure.subplots()
    modes = sorted({mode for mode, _, _ in bounds})
    for mode in modes:
        mine = [(step, bound) for k, step, bound in bounds if k == mode]
        axis.plot(*zip(*mine, strict=True), marker=".", label=f"mode {mode + 1}")
    axis.set(xlabel="step", ylabel="bound, nats")
    axis.ticklabel_format(useOffset=False)
    if len(modes) > 1:
        axis.legend()
    return figure


def around(draws: Any, angular: Collection[str]) -> Any:
    """Return a table of draws with angles counted from their mean direction, as the summary does.

    Args:
        draws: a column for each number.
        angular: which parameters are angles.
    """
    even = np.full(len(draws), 1 / len(draws))
    turned = {
        name: unrolled(draws[name].to_numpy(), even)
        for name in draws.columns
        if name.partition("[")[0] in angular
    }
    return draws.assign(**turned)


def pairs(draws: Any) -> Figure:
    """Draw the first parameters against each other, and by themselves on the diagonal."""
    from matplotlib.figure import Figure

    names = list(draws.columns[:PAIRS])
    figure = Figure(figsize=(1.7 * len(names) + 0.6, 1.7 * len(names) + 0.6))
    axes = figure.subplots(len(names), len(names), squeeze=False)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            axis = axes[i, j]
            if j > i:
                axis.axis("off")
                continue
            if i == j:
                axis.hist(draws[row], bins=40, color="#1f77b4", density=True)
                axis.set_yticks([])
            else:
                axis.plot(draws[column], draws[row], ".", color="#1f77b4", ms=1.5, alpha=0.3)
            if i == len(names) - 1:
                axis.set_xlabel(column, fontsize=8)
            if j == 0 and i:
                axis.set_ylabel(row, fontsize=8)
            axis.tick_params(labelsize=6)
    return figure


def marginals(draws: Any) -> Figure:
    """Draw a histogram of each parameter, with the middle 94% and the median marked."""
    from matplotlib.figure import Figure

    names = list(draws.columns[:MARGINALS])
    wide = min(4, len(names))
    high = -(-len(names) // wide)
    figure = Figure(figsize=(2.3 * wide + 0.4, 1.7 * high + 0.4))
    axes = figure.subplots(high, wide, squeeze=False).flatten()
    for axis in axes[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes, names, strict=False):
        values = draws[name].to_numpy()
        low, middle, top = np.quantile(values, [0.03, 0.5, 0.97])
        axis.hist(values, bins=50, color="#9ecae1", density=True)
        axis.axvspan(low, top, color="#1f77b4", alpha=0.12, lw=0)
        axis.axvline(middle, color="#1f77b4", lw=1)
        axis.set_title(name, fontsize=8)
        axis.set_yticks([])
        axis.tick_params(labelsize=6)
    figure.tight_layout()
    return figure


def _table(summary: Any) -> list[list[str]]:
    rows = [
        [str(name), *(f"{value:.4g}" for value in row)]
        for name, row in zip(summary.index, summary.to_numpy(), strict=True)
    ]
    return [["parameter", *map(str, summary.columns)], *rows]
