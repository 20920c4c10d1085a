"""The information in each group of latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from invflow.report import figures
from invflow.report.page import Panel
from invflow.vae.models.base import LatentModel
from invflow.vae.resnet import ResNetVAE
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def grouped(run: Run) -> list[str]:
    """Return the posteriors whose latents come in more than one group."""
    return [name for name, result in run.results.items() if len(result.kls) > 1]


def information(run: Run) -> list[Panel]:
    """Draw the divergence in each group of latents, layer by layer, for each grouped model."""
    parts = {name: layers(run.models[name], run.results[name].kls) for name in grouped(run)}
    highest = max(max(heights) for part in parts.values() for _, heights in part)
    panels: list[Panel] = []
    for name, part in parts.items():
        figure, axes = figures.figure(1, 1, (figures.WIDTH, 2.2))
        axis = axes[0, 0]
        _bars(axis, part)
        if run.config.free_bits:
            axis.axhline(run.config.free_bits, color=figures.RED, ls="--", lw=1)
        axis.set(ylabel="KL (nats)", ylim=(0, 1.05 * max(highest, run.config.free_bits) or 1))
        axis.grid(axis="y", alpha=0.25)
        alt = f"Bars: KL divergence of each latent map of the model {name}, layer by layer."
        panels += [Panel(figure, alt, name)]
    return panels


def layers(model: LatentModel, kls: list[float]) -> list[tuple[str, list[float]]]:
    """Return the divergences of each layer's groups, the largest first, under a label.

    Models without layers count as one.
    """
    if not isinstance(model, ResNetVAE):
        return [("", sorted(kls, reverse=True))]
    sizes = reversed(model.sizes)
    parts = np.reshape(kls, (-1, model.latent_maps)).tolist()
    return [
        (f"{high} x {wide}\n{sum(part):.1f}", sorted(part, reverse=True))
        for (high, wide), part in zip(sizes, parts, strict=True)
    ]


def _bars(axis: Axes, parts: list[tuple[str, list[float]]]) -> None:
    start = 0.0
    middles: list[float] = []
    for i, (_, heights) in enumerate(parts):
        places = start + np.arange(len(heights))
        axis.bar(places, heights, width=0.85, color=figures.COLOURS[i % 2])
        middles += [float(places.mean())]
        start = float(places[-1]) + 2
    axis.set_xticks(middles, [label for label, _ in parts], fontsize=8)
    axis.margins(x=0.01)
