"""The training curves of a run."""

from __future__ import annotations

from math import isfinite
from statistics import median
from typing import TYPE_CHECKING

from invflow.report import figures
from invflow.report.figures import focus
from invflow.training import metrics
from invflow.vae.experiment import objective
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves(run: Run) -> Figure:
    """Draw the bounds on validation images and, where known, on training images against the step.

    The bound on training images is unknown during warm-up, and with free bits and similar changes.
    """
    figure, axes = figures.figure(1, 1, (figures.WIDTH, 3.4 + 0.2 * len(run.models)))
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
    # Bounds on training images may be higher.
    seen = [-row["loss"] for row in recorded if row["split"] == "train" and aim.plain]
    axis.set_ylim(top=max([axis.get_ylim()[1], *(b + 1 for b in seen if isfinite(b))]))
    axis.set_xlabel("step")
    axis.set_ylabel("bound (nats per image)")
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8)
    axis.grid(alpha=0.25)
    return figure


def pace(run: Run) -> str:
    """Return as text how fast each model trained, and how many steps were skipped, if any."""
    recorded = [row for row in metrics.read(run.directory) if row["split"] == "train"]
    mine = {name: [row for row in recorded if row["model"] == name] for name in run.models}
    rates = [f"{k} {median(r['rate'] for r in rows):.0f}" for k, rows in mine.items() if rows]
    skipped = [
        f"{name} {rows[-1]['skipped']} of {rows[-1]['step']}"
        for name, rows in mine.items()
        if rows and rows[-1]["skipped"]
    ]
    text = f"Median images per second: {', '.join(rates)}." if rates else ""
    if skipped:
        text += (
            f" Steps skipped because the loss or its gradient was not finite: {', '.join(skipped)}."
        )
    return text
