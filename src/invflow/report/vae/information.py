"""The information in each group of latents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from invflow.report import figures
from invflow.vae.base import LatentModel
from invflow.vae.resnet import ResNetVAE
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def grouped(run: Run) -> list[str]:
    """Return the posteriors whose latents come in more than one group."""
    return [name for name, result in run.results.items() if len(result.kls) > 1]


def information(run: Run) -> Figure:
    """Draw the divergence in each group of latents, layer by layer, for each grouped model."""
    names = grouped(run)
    size = (figures.WIDTH, 1.9 * len(names) + 0.3)
    figure, axes = figures.figure(len(names), 1, size, sharey=True)
    for axis, name in zip(axes[:, 0], names, strict=True):
        axis.set_title(name, fontsize=10, loc="left")
        _bars(axis, layers(run.models[name], run.results[name].kls))
        if run.config.free_bits:
            axis.axhline(run.config.free_bits, color="#c44", ls="--", lw=1)
        axis.set_ylabel("KL (nats)")
        axis.grid(axis="y", alpha=0.25)
    return figure


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
        axis.bar(places, heights, width=0.85, color=f"C{i % 2}")
        middles += [float(places.mean())]
        start = float(places[-1]) + 2
    axis.set_xticks(middles, [label for label, _ in parts], fontsize=8)
    axis.margins(x=0.01)
