"""How the training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from invflow.density.run import Run
from invflow.training import metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: Nats about the best value that are in view, if there are so many.
SPAN = 5.0


def curve(run: Run) -> Figure:
    """Draw what training maximises against the step.

    The loss of rows with gaps is of what fills them too, so that only the bound on the rows set
    aside is drawn there.
    """
    rows = metrics.read(run.directory)
    lines = {"rows set aside": [(r["step"], r["bound"]) for r in rows if r["split"] != "train"]}
    if run.config.missing == "refuse":
        lines["rows learned"] = [(r["step"], -r["loss"]) for r in rows if r["split"] == "train"]
    figure = steps(lines, "nats per row")
    # The heights that matter are around the best values: others may be far below, or overfit.
    best, *others = sorted((value for _, value in lines["rows set aside"]), reverse=True)
    span = max([SPAN, *(6 * (best - value) for value in others[: 1 + len(others) // 4][-1:])])
    seen = [value for line in lines.values() for _, value in line]
    figure.axes[0].set_ylim(max(min(seen), best - span) - 0.1, min(max(seen), best + span) + 0.2)
    return figure


def steps(lines: Mapping[str, Sequence[tuple[int, float]]], height: str) -> Figure:
    """Draw values against the step.

    Args:
        lines: steps and values, by label; of rows set aside first, and of those learned.
        height: what the values are.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axis = figure.subplots()
    for (label, line), style in zip(lines.items(), ("-", ":"), strict=False):
        axis.plot(*zip(*line, strict=True), style, marker=".", color="#1f77b4", label=label)
    axis.set(xlabel="step", ylabel=height)
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=8)
    return figure
