"""The training curve of a density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from invflow.density.run import Run
from invflow.report import figures
from invflow.training import metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Smallest range of the vertical axis below and above the best value, in nats, if values reach it.
SPAN = 5.0


def curve(run: Run) -> Figure:
    """Draw the mean log density against the step.

    With missing values the training loss includes that of the imputer, so that only the validation
    rows are drawn.
    """
    rows = metrics.read(run.directory)
    lines = {"validation rows": [(r["step"], r["bound"]) for r in rows if r["split"] != "train"]}
    if run.config.missing == "refuse":
        lines["training rows"] = [(r["step"], -r["loss"]) for r in rows if r["split"] == "train"]
    drawn = steps(lines, "nats per row")
    # Values near the best matter: others may be far below, or overfit.
    best, *others = sorted((value for _, value in lines["validation rows"]), reverse=True)
    span = max([SPAN, *(6 * (best - value) for value in others[: 1 + len(others) // 4][-1:])])
    seen = [value for line in lines.values() for _, value in line]
    drawn.axes[0].set_ylim(max(min(seen), best - span) - 0.1, min(max(seen), best + span) + 0.2)
    return drawn


def steps(lines: Mapping[str, Sequence[tuple[int, float]]], height: str) -> Figure:
    """Draw values against the step.

    Args:
        lines: steps and values, by label: those of validation first, then those of training.
        height: label of the vertical axis.
    """
    drawn, axes = figures.figure(1, 1, (7.5, 3.2))
    axis = axes[0, 0]
    for (label, line), style in zip(lines.items(), ("-", ":"), strict=False):
        axis.plot(*zip(*line, strict=True), style, marker=".", color=figures.BLUE, label=label)
    axis.set(xlabel="step", ylabel=height)
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=8)
    return drawn
