"""Training curves and samples of several runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from invflow.report.vae import pictures
from invflow.report.vae.curves import focus
from invflow.report.vae.images import COLUMNS, sampled
from invflow.training import metrics
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: There are ten colours; further lines have them again in another style.
STYLES = ("-", "--", ":", "-.")


def curves(runs: Mapping[str, Run]) -> Figure:
    """Draw the bounds on validation images over steps, and over seconds of training."""
    lines = {
        f"{label}, {name}": progress(run, name)
        for label, run in runs.items()
        for name in run.models
    }
    height = 3.4 + 0.2 * -(-len(lines) // 2)
    figure, axes = pictures.figure(1, 2, (pictures.WIDTH, height), sharey=True)
    for across, axis in enumerate(axes[0]):
        for i, line in enumerate(lines.values()):
            style = STYLES[i // 10 % len(STYLES)]
            axis.plot(line[across], line[2], style, marker=".", ms=4, color=f"C{i % 10}")
        axis.grid(alpha=0.25)
    focus(axes[0, 0], [bound for line in lines.values() for bound in line[2]])
    axes[0, 0].set_ylabel("bound (nats per image)")
    axes[0, 0].set_xlabel("step")
    axes[0, 1].set_xlabel("seconds of training")
    figure.legend(
        axes[0, 0].get_lines(), lines, loc="outside lower left", ncols=2, frameon=False, fontsize=8
    )
    return figure


def progress(run: Run, name: str) -> tuple[list[int], list[float], list[float]]:
    """Return the steps at which a model was evaluated, its seconds of training, and its bounds."""
    mine = [row for row in metrics.read(run.directory) if row["model"] == name]
    seconds = {row["step"]: row["seconds"] for row in mine if row["split"] == "train"}
    evaluated = [row for row in mine if row["split"] == "validation"]
    steps = [row["step"] for row in evaluated]
    return steps, [seconds[step] for step in steps], [row["bound"] for row in evaluated]


def samples(runs: Mapping[str, Run]) -> Figure:
    """Draw a line of images from each model of each run, all from the same random numbers."""
    parts = [
        (f"{label}, {name}", sampled(run, name, COLUMNS, torch.Generator().manual_seed(0)))
        for label, run in runs.items()
        for name in run.models
    ]
    levels = next(iter(runs.values())).format.levels
    return pictures.stacked([(k, pictures.grid(v, COLUMNS)) for k, v in parts], levels)
