"""Approximate and exact posteriors of test images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow._modes import evaluating
from invflow.report import figures
from invflow.report.vae import pictures
from invflow.vae.base import LatentModel
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Number of test images, and of posteriors side by side.
IMAGES, COLUMNS = 3, 3
#: The two dimensions shown are among this many of the first latents.
LATENTS = 64
#: Draws from a posterior, by the run's network, and for networks that take longer.
DRAWS, DRAWS_OF_SLOW_NETWORKS = {"mlp": 50_000}, 4096


def posteriors(run: Run, generator: torch.Generator) -> Figure:
    """Draw approximate and exact posteriors of a few test images in two latent dimensions."""
    draws = DRAWS.get(run.config.network, DRAWS_OF_SLOW_NETWORKS)
    chosen = run.images.test[:IMAGES]
    columns = min(COLUMNS, len(run.models))
    below = -(-len(run.models) // columns)
    rows = below * len(chosen)
    ratios = [0.6] + columns * [1.0]
    size = (2.7 * sum(ratios), 2.4 * rows)
    figure, axes = figures.figure(rows, columns + 1, size, width_ratios=ratios)
    for axis in axes.flat:
        axis.axis("off")
    for number, (block, image) in enumerate(zip(np.split(axes, len(chosen)), chosen, strict=True)):
        pictures.show(block[0, 0], pictures.grid(image[None], 1), run.format.levels)
        for axis, (name, model) in zip(block[:, 1:].flat, run.models.items(), strict=False):
            given = run.given(model, len(chosen))
            c = None if given is None else given[[number]]
            q, exact, effective = _draws(model, image, draws, generator, c)
            i, j = _most_correlated(exact)
            axis.axis("on")
            _densities(axis, q[:, [i, j]], exact[:, [i, j]])
            axis.set_title(f"{name}, ESS {100 * effective:.2g}%", fontsize=9)
            axis.set_xlabel(f"z{i}", fontsize=8)
            axis.set_ylabel(f"z{j}", fontsize=8)
    return figure


@torch.no_grad()
def _draws(
    model: LatentModel,
    image: Tensor,
    count: int,
    generator: torch.Generator,
    given: Tensor | None,
) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Return draws from the approximate posterior, importance-resampled ones, and their ESS.

    The effective sample size is a fraction of the number of draws.
    """
    x = model.observe(image.reshape(1, -1), generator)
    piece = min(model.at_once, count)
    with evaluating(model):
        parts = [model.draw(x, piece, generator, given) for _ in range(-(-count // piece))]
    z = torch.cat([part[0] for part in parts])[:count, :, :LATENTS]
    weights = torch.softmax(torch.cat([part[1] for part in parts])[:count].squeeze(-1), 0)
    effective = 1 / (count * float(weights.square().sum()))
    # Truncated importance sampling (Ionides 2008), so that a single draw does not look like a mode.
    weights = weights.clamp(max=count**-0.5)
    again = torch.multinomial(weights, count, replacement=True, generator=generator)
    z = z.squeeze(1)
    return z.numpy(), z[again].numpy(), effective


def _most_correlated(draws: NDArray[Any]) -> tuple[int, int]:
    """Return the two most correlated columns."""
    if draws.shape[1] == 1:
        return 0, 0
    with np.errstate(invalid="ignore"):  # a single draw, resampled, has no correlation
        correlation = np.nan_to_num(np.abs(np.corrcoef(draws, rowvar=False)))
    np.fill_diagonal(correlation, -1)
    i, j = np.unravel_index(int(correlation.argmax()), correlation.shape)
    return int(i), int(j)


def _densities(axis: Axes, filled: NDArray[Any], lines: NDArray[Any]) -> None:
    both = np.concatenate([filled, lines])
    low, high = np.quantile(both, 0.002, axis=0), np.quantile(both, 0.998, axis=0)
    margin = 0.15 * (high - low)
    edges = [np.linspace(a, b, 49) for a, b in zip(low - margin, high + margin, strict=True)]
    middle = [0.5 * (e[1:] + e[:-1]) for e in edges]
    density = [_smooth(np.histogram2d(*d.T, bins=edges)[0]).T for d in (filled, lines)]
    axis.contourf(*middle, density[0], levels=_levels(density[0]), cmap="Blues")
    axis.contour(*middle, density[1], levels=_levels(density[1])[1:-1], colors="#c44", linewidths=1)
    axis.tick_params(labelsize=7)
    axis.locator_params(nbins=5)


def _levels(density: NDArray[Any]) -> list[float]:
    """Return heights above which 95, 80, 50 and 20 per cent of the mass lie, and the top."""
    heights = np.sort(density.ravel())[::-1]
    mass = np.cumsum(heights) / heights.sum()
    cuts = [float(heights[int(np.searchsorted(mass, m))]) for m in (0.95, 0.8, 0.5, 0.2)]
    return sorted({0.5 * cuts[0], *cuts, float(heights[0]) * 1.001})


def _smooth(counts: NDArray[Any]) -> NDArray[Any]:
    """Smooth a histogram with a small Gaussian in both directions."""
    kernel = np.exp(-0.5 * (np.arange(-4, 5) / 1.3) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        counts = np.apply_along_axis(np.convolve, axis, counts, kernel, mode="same")
    return counts
