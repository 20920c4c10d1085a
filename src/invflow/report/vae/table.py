"""The results of a run as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from invflow.images.pixels import bits_per_dim
from invflow.report.page import Brief
from invflow.report.vae.verdict import verdict
from invflow.vae.run import Result, Run

MEASURE = "Test images, nats per image"


def results(run: Run, columns: Sequence[str] | None = None) -> list[tuple[str, ...]]:
    """Return the table of results: a head, and a row for each posterior.

    Args:
        run: a finished run.
        columns: the columns wanted; by default, all that apply to the likelihood.
    """
    cells = _cells(run)
    columns = list(cells) if columns is None else columns
    rows = [
        # Gains are relative to the first row.
        (name, *("" if column == "gain" and not i else cells[column](r) for column in columns))
        for i, (name, r) in enumerate(run.results.items())
    ]
    return [("posterior", *columns), *rows]


def brief(run: Run) -> Brief:
    """Return what a terminal shows of the results: a title, a head, rows and the verdict."""
    bits = ["bits/dim"] if has_bits(run) else []
    columns = ["test bound", "log-likelihood", "gain", *bits, "KL", "time"]
    head, *rows = results(run, columns)
    return Brief(MEASURE, head, rows, verdict(run).lines)


def _cells(run: Run) -> dict[str, Callable[[Result], str]]:
    """Return the functions that make the cells of the columns, by name."""
    pixels = run.model().pixels
    bits: dict[str, Callable[[Result], str]] = {
        "bits/dim, bound": lambda r: _bits(r.bound, r.bound_error, pixels),
        "bits/dim": lambda r: _bits(r.log_likelihood, r.log_likelihood_error, pixels),
    }
    return {
        "test bound": lambda r: f"{r.bound:.2f} ± {r.bound_error:.2f}",
        "log-likelihood": lambda r: f"{r.log_likelihood:.2f} ± {r.log_likelihood_error:.2f}",
        "gain": lambda r: f"{r.gain:+.2f} ± {r.gain_error:.2f}",
        **(bits if has_bits(run) else {}),
        "KL": lambda r: f"{r.kl:.2f}",
        "distortion": lambda r: f"{-(r.bound + r.kl):.2f}",
        "active": lambda r: str(r.active),
        "time": lambda r: f"{r.seconds:.0f} s",
    }


def _bits(nats: float, error: float, pixels: int) -> str:
    return f"{bits_per_dim(nats, pixels):.3f} ± {abs(bits_per_dim(error, pixels)):.3f}"


def has_bits(run: Run) -> bool:
    """Whether bits per dimension are meaningful: for probabilities of 256 levels."""
    return run.format.levels == 256 and run.format.likelihood not in ("bernoulli", "gaussian")
