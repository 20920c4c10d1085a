"""How the training went."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from invflow.density.run import Run
from invflow.training import metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curve(run: Run) -> Figure:
    """Draw what training maximises against the step.

    The loss of rows with gaps is of what fills them too, so that only the bound on the rows set
    aside is drawn there.
    """
    from matplotlib.figure import Figure

    rows = metrics.read(run.directory)
    lines = {"rows set aside": [(r["step"], r["bound"]) for r in rows if r["split"] != "train"]}
    if run.config.missing == "refuse":
        lines["rows learned"] = [(r["step"], -r["loss"]) for r in rows if r["split"] == "train"]
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axis = figure.subplots()
    for (label, line), style in zip(lines.items(), ("-", ":"), strict=False):
        axis.plot(*zip(*line, strict=True), style, marker=".", color="#1f77b4", label=label)
    best, middle = (f(value for _, value in lines["rows set aside"]) for f in (max, median))
    top = max(value for line in lines.values() for _, value in line)
    # The heights that matter are around the best values, not the first ones.
    lowest = min(value for line in lines.values() for _, value in line)
    axis.set_ylim(max(lowest, best - 6 * max(best - middle, 0.2)) - 0.1, top + 0.2)
    axis.set(xlabel="step", ylabel="nats per row")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, fontsize=8)
    return figure
