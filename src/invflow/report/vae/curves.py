"""How the training went."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING

from invflow.report.vae import pictures
from invflow.training import metrics
from invflow.vae.experiment import objective
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves(run: Run) -> Figure:
    """Draw the bound on validation images against the step, and on training images if it is known.

    It is not in a warm-up, nor where the training has amended it, by free bits or the like.
    """
    figure, axes = pictures.figure(1, 1, (pictures.WIDTH, 3.4 + 0.2 * len(run.models)))
    axis: Axes = axes[0, 0]
    recorded = metrics.read(run.directory)
    aim = objective(run.config)
    styles = {"train": ":", "validation": "-"} if aim.plain else {"validation": "-"}
    recorded = [
        row
        for row in recorded
        if row["split"] != "train" or row["step"] >= aim.warmup + run.config.evaluate_every
    ]
    for i, name in enumerate(run.models):
        for split, style in styles.items():
            mine = [r for r in recorded if r["model"] == name and r["split"] == split]
            steps, bounds = [r["step"] for r in mine], [r.get("bound", -r["loss"]) for r in mine]
            label = f"{name}, {split}"
            axis.plot(steps, bounds, style, marker=".", ms=4, color=f"C{i % 10}", label=label)
    focus(axis, [row["bound"] for row in recorded if row["split"] == "validation"])
    # Those on training images may well be higher.
    seen = [-row["loss"] for row in recorded if row["split"] == "train" and aim.plain]
    axis.set_ylim(top=max([axis.get_ylim()[1], *(b + 1 for b in seen if isfinite(b))]))
    axis.set_xlabel("step")
    axis.set_ylabel("bound (nats per image)")
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8)
    axis.grid(alpha=0.25)
    return figure


def focus(axis: Axes, bounds: Sequence[float]) -> None:
    """Show the heights that matter: around the best bounds, not the first ones."""
    if bounds:
        best, span = max(bounds), max(bounds) - median(bounds)
        lowest = max(best - max(12 * span, 5), min(bounds) - 5)
        axis.set_ylim(lowest, best + max(4 * span, 3))


def pace(run: Run) -> str:
    """Return in words how fast each model learned, and how many steps were skipped, if any were."""
    recorded = [row for row in metrics.read(run.directory) if row["split"] == "train"]
    mine = {name: [row for row in recorded if row["model"] == name] for name in run.models}
    rates = [f"{k} {median(r['rate'] for r in rows):.0f}" for k, rows in mine.items() if rows]
    skipped = [
        f"{name} {rows[-1]['skipped']} of {rows[-1]['step']}"
        for name, rows in mine.items()
        if rows and rows[-1]["skipped"]
    ]
    text = f"Images per second, the median: {', '.join(rates)}." if rates else ""
    if skipped:
        text += f" Steps skipped, as the loss or its gradient was not finite: {', '.join(skipped)}."
    return text
