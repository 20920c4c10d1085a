"""The report of a VAE run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow.report import page
from invflow.training import metrics
from invflow.vae.base import LatentModel
from invflow.vae.run import Result, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("posterior", "test bound", "log-likelihood", "gain", "KL", "time")
#: So many draws are decoded in one piece, and the first so many latents are looked at.
AT_ONCE, SHOWN = 2048, 64
_COLOURS = ("#9467bd", "#1f77b4", "#2ca02c", "#d62728", "#ff7f0e")


def rows(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Return the table of results as text, one row for each posterior."""
    return [
        (
            name,
            f"{r.bound:.2f} ± {r.bound_error:.2f}",
            f"{r.log_likelihood:.2f} ± {r.log_likelihood_error:.2f}",
            f"{r.gain:+.2f} ± {r.gain_error:.2f}" if i else "",
            f"{r.kl:.2f}",
            f"{r.seconds:.0f} s",
        )
        for i, (name, r) in enumerate(results.items())
    ]


def write(run: Run, test: Tensor) -> None:
    """Write `report.html` into the directory of a run.

    Args:
        run: a finished run.
        test: levels of test images, (count, channels, height, width).

    Raises:
        ImportError: matplotlib or Jinja is not installed.
    """
    generator = torch.Generator().manual_seed(run.config.seed)
    sections = [
        page.Section(
            "Results",
            table=[COLUMNS, *rows(run.results)],
            text=(
                f"Nats per image over {len(test)} test images, ± standard error over images; time "
                "is that of training. Log-likelihoods are importance-sampled with "
                f"{run.config.importance_samples} draws from the posterior, and so are still lower "
                "bounds on average. The gain is the log-likelihood less that of the first row, "
                "compared image by image. The models saw the same batches and the same noise."
            ),
        ),
        page.Section("Training", picture=page.encoded(curves(run))),
        page.Section(
            "Posteriors",
            picture=page.encoded(posteriors(run, test, generator)),
            text=(
                "What the posterior of a test image looks like in two latent dimensions. "
                "Filled: the approximate posterior q(z|x). Lines: the model's exact posterior "
                "p(z|x), as estimated by resampling draws from q with (truncated) importance "
                "weights; ESS is the effective sample size of the weights in per cent, and where "
                "it is small the lines are rough, and stay within reach of q. The two dimensions "
                "are those most correlated under the exact posterior; each model has latents of "
                "its own."
            ),
        ),
        page.Section(
            "Reconstructions",
            picture=page.encoded(reconstructions(run, test, generator)),
            text="Test images, and their expected value after one draw from each posterior.",
        ),
        page.Section(
            "Samples",
            picture=page.encoded(samples(run, generator)),
            text="Images drawn from each model, latents from the prior.",
        ),
        page.Section("Settings", code=run.config.model_dump_json(indent=2)),
    ]
    title = f"invflow: VAE on {run.config.data}"
    lead = (
        f"{' and '.join(run.results)} posterior, {run.config.latents} latents, "
        f"{run.config.steps} steps, seed {run.config.seed}"
    )
    page.write(run.directory / "report.html", title, lead, sections)


def sheet(images: Tensor, levels: int) -> Figure:
    """Draw images, levels (count, channels, height, width), in a near-square grid."""
    columns = math.ceil(math.sqrt(len(images)))
    figure, axes = _figure(1, 1, (6, 6))
    _show(axes[0, 0], _grid(images, columns), levels)
    return figure


def curves(run: Run) -> Figure:
    """Draw the bound on training and validation images against the step."""
    figure, axes = _figure(1, 1, (7.5, 3.6))
    axis: Axes = axes[0, 0]
    recorded = metrics.read(run.directory)
    best = [-row["loss"] for row in recorded if row["split"] == "validation"]
    for name, colour in zip(run.models, _COLOURS, strict=False):
        for split, style in (("train", ":"), ("validation", "-")):
            mine = [r for r in recorded if r["model"] == name and r["split"] == split]
            steps, bounds = [r["step"] for r in mine], [-r["loss"] for r in mine]
            axis.plot(steps, bounds, style, color=colour, label=f"{name}, {split}")
    if best:
        span = max(best) - float(np.median(best))
        axis.set_ylim(max(best) - max(12 * span, 5), max(best) + max(4 * span, 3))
    axis.set_xlabel("step")
    axis.set_ylabel("bound (nats per image)")
    axis.legend(frameon=False, ncols=2, fontsize=9)
    axis.grid(alpha=0.25)
    return figure


def samples(run: Run, generator: torch.Generator, count: int = 40) -> Figure:
    """Draw images from each model."""
    figure, axes = _figure(len(run.models), 1, (8.5, 1.25 * len(run.models)))
    for axis, (name, model) in zip(axes[:, 0], run.models.items(), strict=True):
        images = model.sample(count, generator).reshape(count, *run.format.shape)
        _show(axis, _grid(images, columns=20), model.levels, name)
    return figure


def reconstructions(run: Run, test: Tensor, generator: torch.Generator, count: int = 20) -> Figure:
    """Draw test images above what each model makes of them."""
    chosen = test[:count]
    figure, axes = _figure(len(run.models) + 1, 1, (8.5, 0.75 * (len(run.models) + 1)))
    levels = run.model().levels
    _show(axes[0, 0], _grid(chosen, columns=len(chosen)), levels, "images")
    for axis, (name, model) in zip(axes[1:, 0], run.models.items(), strict=True):
        x = model.observe(chosen.flatten(1), generator)
        with torch.no_grad():
            z = model.draw(x, 1, generator)[0].squeeze(0)
            mean = model.likelihood.mean(model.decode(z)).reshape(len(chosen), *run.format.shape)
        _show(axis, _grid(mean, columns=len(chosen)), levels, name)
    return figure


def posteriors(run: Run, test: Tensor, generator: torch.Generator, count: int = 3) -> Figure:
    """Draw approximate and exact posteriors of a few test images in two latent dimensions."""
    draws = 50_000 if run.config.network == "mlp" else 4096
    chosen = test[:count]
    figure, axes = _figure(len(chosen), len(run.models) + 1, (8.0, 2.4 * len(chosen)))
    for row, image in zip(axes, chosen, strict=True):
        _show(row[0], image.movedim(0, -1).numpy(), run.model().levels)
        for axis, (name, model) in zip(row[1:], run.models.items(), strict=True):
            q, exact, effective = _draws(model, image, draws, generator)
            i, j = _most_correlated(exact)
            _densities(axis, q[:, [i, j]], exact[:, [i, j]])
            axis.set_title(f"{name}, ESS {100 * effective:.2g}%", fontsize=10)
            axis.set_xlabel(f"z{i}", fontsize=8)
            axis.set_ylabel(f"z{j}", fontsize=8)
    figure.tight_layout()
    return figure


@torch.no_grad()
def _draws(
    model: LatentModel, image: Tensor, count: int, generator: torch.Generator
) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Return draws from the approximate posterior, importance-resampled ones, and their ESS.

    The effective sample size is a fraction of the number of draws.
    """
    x = model.observe(image.reshape(1, -1), generator)
    # Decoded images take much more memory than their latents.
    parts = [model.draw(x, min(AT_ONCE, count), generator) for _ in range(-(-count // AT_ONCE))]
    z = torch.cat([part[0] for part in parts])[:count, :, :SHOWN]
    weights = torch.softmax(torch.cat([part[1] for part in parts])[:count].squeeze(-1), 0)
    effective = 1 / (count * float(weights.square().sum()))
    # Truncated importance sampling (Ionides 2008): no single draw makes a mode of its own.
    weights = weights.clamp(max=count**-0.5)
    again = torch.multinomial(weights, count, replacement=True, generator=generator)
    z = z.squeeze(1)
    return z.numpy(), z[again].numpy(), effective


def _most_correlated(draws: NDArray[Any]) -> tuple[int, int]:
    """Return the two most correlated columns."""
    if draws.shape[1] == 1:
        return 0, 0
    correlation = np.abs(np.corrcoef(draws, rowvar=False))
    np.fill_diagonal(correlation, -1)
    i, j = np.unravel_index(int(np.nanargmax(correlation)), correlation.shape)
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


def _grid(images: Tensor, columns: int) -> NDArray[Any]:
    """Return images side by side, (height, width, channels), with a gap of one pixel, NaN."""
    missing = -len(images) % columns
    padded = np.pad(
        images.movedim(1, -1).numpy().astype(float),
        ((0, missing), (0, 1), (0, 1), (0, 0)),
        constant_values=np.nan,
    )
    lines = padded.reshape(-1, columns, *padded.shape[1:])
    return np.concatenate([np.concatenate(list(line), axis=1) for line in lines], axis=0)


def _show(axis: Axes, picture: NDArray[Any], levels: int, title: str = "") -> None:
    """Draw a picture, (height, width, channels): dark on white where grey, or in its colours."""
    if picture.shape[-1] == 1:
        axis.imshow(picture[..., 0], cmap="gray_r", vmin=0, vmax=levels - 1)
    else:
        axis.imshow(np.nan_to_num(picture / (levels - 1), nan=1.0).clip(0, 1))
    axis.set_title(title, fontsize=10, loc="left")
    axis.axis("off")


def _figure(rows: int, columns: int, size: Sequence[float]) -> tuple[Figure, NDArray[Any]]:
    """Return a figure that no window and no global state knows of, and its axes."""
    page.require()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0], size[1]))
    return figure, figure.subplots(rows, columns, squeeze=False)
