"""Approximate and exact posteriors of test images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow._modes import evaluating
from invflow.report import figures, pictures
from invflow.report.page import Panel
from invflow.report.vae.images import spaced
from invflow.vae.models.base import LatentModel
from invflow.vae.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Number of test images, and the size of a figure in inches.
IMAGES, SIZE = 3, (2.3, 2.2)
#: Effective number of draws below which contours would show single draws.
ENOUGH = 300
#: The two dimensions shown are among this many of the first latents.
LATENTS = 64
#: Draws from a posterior, by the run's network, and for networks that take longer.
DRAWS, DRAWS_OF_SLOW_NETWORKS = {"mlp": 50_000}, 4096


def posteriors(run: Run, generator: torch.Generator) -> list[Panel]:
    """Draw approximate and exact posteriors of a few test images in two latent dimensions."""
    draws = DRAWS.get(run.config.network, DRAWS_OF_SLOW_NETWORKS)
    panels: list[Panel] = []
    for k in spaced(run, IMAGES).tolist():
        image = run.images.test[k]
        figure, axes = figures.figure(1, 1, (1.1, 1.1))
        pictures.show(axes[0, 0], pictures.grid(image[None], 1), run.format.levels)
        panels += [Panel(figure, f"Test image {k}.", f"test image {k}", starts=True)]
        for name, model in run.models.items():
            given = run.given(model, slice(k, k + 1))
            panels += [_panel(name, k, _draws(model, image, draws, generator, given))]
    return panels


def _panel(name: str, number: int, found: Draws) -> Panel:
    """Draw the two most correlated dimensions of a posterior."""
    i, j = _most_correlated(found.exact if found.enough else found.approximate)
    figure, axes = figures.figure(1, 1, SIZE)
    exact = found.exact[:, [i, j]] if found.enough else None
    _densities(axes[0, 0], found.approximate[:, [i, j]], exact)
    axes[0, 0].set_xlabel(f"z{i}", fontsize=9)
    axes[0, 0].set_ylabel(f"z{j}", fontsize=9)
    alt = f"Posterior of test image {number} by the model {name}, latents z{i} and z{j}"
    alt += "." if found.enough else ", without the exact posterior: too few effective draws."
    size = f"ESS {100 * found.effective / len(found.exact):.2g}%"
    return Panel(figure, alt, f"{name}, {size if found.enough else f'{size}: no lines'}")


class Draws(NamedTuple):
    """Draws of the latents of an image.

    Attributes:
        approximate: from the approximate posterior, (count, latents).
        exact: the same, resampled to follow the exact one.
        effective: effective number of the latter.
    """

    approximate: NDArray[Any]
    exact: NDArray[Any]
    effective: float

    @property
    def enough(self) -> bool:
        """Whether the resampled draws show the exact posterior, rather than a few of the draws."""
        return self.effective >= ENOUGH


@torch.no_grad()
def _draws(
    model: LatentModel,
    image: Tensor,
    count: int,
    generator: torch.Generator,
    given: Tensor | None = None,
) -> Draws:
    """Return draws from the approximate posterior, and importance-resampled ones."""
    x = model.observe(image.reshape(1, -1), generator)
    piece = min(model.at_once, count)
    with evaluating(model):
        parts = [model.draw(x, piece, generator, given) for _ in range(-(-count // piece))]
    z = torch.cat([part[0] for part in parts])[:count, :, :LATENTS]
    weights = torch.softmax(torch.cat([part[1] for part in parts])[:count].squeeze(-1), 0)
    effective = 1 / float(weights.square().sum())
    # Truncated importance sampling (Ionides 2008), so that a single draw does not look like a mode.
    weights = weights.clamp(max=count**-0.5)
    again = torch.multinomial(weights, count, replacement=True, generator=generator)
    z = z.squeeze(1)
    return Draws(z.numpy(), z[again].numpy(), effective)


def _most_correlated(draws: NDArray[Any]) -> tuple[int, int]:
    """Return the two most correlated columns."""
    if draws.shape[1] == 1:
        return 0, 0
    with np.errstate(invalid="ignore"):  # a single draw, resampled, has no correlation
        correlation = np.nan_to_num(np.abs(np.corrcoef(draws, rowvar=False)))
    np.fill_diagonal(correlation, -1)
    i, j = np.unravel_index(int(correlation.argmax()), correlation.shape)
    return int(i), int(j)


def _densities(axis: Axes, filled: NDArray[Any], lines: NDArray[Any] | None) -> None:
    both = filled if lines is None else np.concatenate([filled, lines])
    low, high = np.quantile(both, 0.002, axis=0), np.quantile(both, 0.998, axis=0)
    margin = 0.15 * (high - low)
    edges = [np.linspace(a, b, 49) for a, b in zip(low - margin, high + margin, strict=True)]
    middle = [0.5 * (e[1:] + e[:-1]) for e in edges]
    density = _density(filled, edges)
    levels = _levels(density)
    # One colour, ever less transparent, suits light pages and dark ones.
    colours = [(figures.BLUE, a) for a in np.linspace(0.12, 0.9, max(len(levels) - 1, 1))]
    axis.contourf(*middle, density, levels=levels, colors=colours)
    if lines is not None:
        density = _density(lines, edges)
        inner = _levels(density)[1:-1]
        axis.contour(*middle, density, levels=inner, colors=figures.RED, linewidths=1)
    axis.tick_params(labelsize=8)
    axis.locator_params(nbins=4)


def _density(draws: NDArray[Any], edges: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return a smooth histogram of draws in two dimensions, (vertical, horizontal)."""
    return _smooth(np.histogram2d(*draws.T, bins=edges)[0]).T


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
