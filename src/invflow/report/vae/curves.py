"""The training curves of a run."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from statistics import median

from invflow.report import figures
from invflow.report.figures import Curve
from invflow.report.page import Explore, Panel
from invflow.training import metrics
from invflow.vae.experiment import objective
from invflow.vae.run import Run

#: Label of the vertical axis.
HEIGHT = "bound (nats per image)"


def lines(run: Run) -> dict[str, Curve]:
    """Return the bounds on validation images and, where known, on training images, by label.

    The bound on training images is unknown during warm-up, and with free bits and similar changes.
    """
    recorded = metrics.read(run.directory)
    aim = objective(run.config)
    known = aim.warmup + run.config.evaluate_every
    styles = {"train": ":", "validation": "-"} if aim.plain else {"validation": "-"}
    found: dict[str, Curve] = {}
    for i, name in enumerate(run.models):
        mine = [row for row in recorded if row["model"] == name]
        seconds = {row["step"]: row["seconds"] for row in mine if row["split"] == "train"}
        for split, style in styles.items():
            rows = [row for row in mine if row["split"] == split]
            rows = [row for row in rows if split == "validation" or row["step"] >= known]
            steps = [row["step"] for row in rows]
            bounds = [row.get("bound", -row["loss"]) for row in rows]
            times = [seconds[step] for step in steps]
            if steps:
                found[f"{name}, {split}"] = Curve(steps, times, bounds, like=i, style=style)
    return found


def curves(lines: Mapping[str, Curve]) -> list[Panel]:
    """Draw the bounds, those on training images dotted."""
    # Bounds on training images may be higher; those of the first steps, far lower, do not matter.
    seen = [bound for line in lines.values() for bound in line.values if isfinite(bound)]
    judged = [b for line in lines.values() if line.style == "-" for b in line.values]
    top = max(seen) + 1 if seen else None
    return figures.curves(lines, HEIGHT, (figures.lowest(judged), top))


def closer(lines: Mapping[str, Curve]) -> Explore:
    """Return the same lines, to zoom into."""
    return figures.chart(lines, HEIGHT)


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
