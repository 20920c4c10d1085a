"""Results of several runs as text, and where their settings differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from invflow.report.vae import table
from invflow.vae.evaluation import mean_and_error
from invflow.vae.run import Result, Run

Table = list[tuple[str, ...]]
#: What of a result is averaged over seeds.
_AVERAGED: dict[str, Callable[[Result], float]] = {
    "test bound": lambda result: result.bound,
    "log-likelihood": lambda result: result.log_likelihood,
    "KL": lambda result: result.kl,
}


def results(runs: Mapping[str, Run]) -> Table:
    """Return a head, and a row for each posterior of each run."""
    bits = ["bits/dim"] * all(table.has_bits(run) for run in runs.values())
    columns = ["test bound", "log-likelihood", *bits, "KL", "active", "time"]
    rows = [
        (f"{label}, {name}", *cells)
        for label, run in runs.items()
        for name, *cells in table.results(run, columns)[1:]
    ]
    return [("run, posterior", *columns), *rows]


def seeds(runs: Mapping[str, Run]) -> Table:
    """Return a head, and a row for each posterior that several seeds were tried with.

    Each number is a mean over seeds, ± its standard error over seeds. Runs count as one where
    nothing but their seeds and the other posteriors beside this one differ. Without a row there is
    no head either.
    """
    averaged = dict(_AVERAGED)
    if all(table.has_bits(run) for run in runs.values()):
        averaged["bits/dim"] = table.bits(next(iter(runs.values())))
    rows: Table = []
    for (name, _), tried in _tried(runs).items():
        if len(tried) > 1:
            labels = ", ".join(label for label, _ in tried.values())
            rows += [(f"{name}: {labels}", str(len(tried)), *_averages(tried, averaged))]
    return [("posterior: runs", "seeds", *averaged), *rows] if rows else []


def settings(runs: Mapping[str, Run]) -> Table:
    """Return a head, and a row for each setting that is not the same in all runs."""
    chosen = [_settings(run) for run in runs.values()]
    rows = [
        (name, *(_text(each[name]) for each in chosen))
        for name in chosen[0]
        if any(each[name] != chosen[0][name] for each in chosen)
    ]
    return [("setting", *runs), *rows] if rows else []


def _tried(runs: Mapping[str, Run]) -> dict[tuple[str, str], dict[int, tuple[str, Result]]]:
    """Return labels and results by seed, by posterior and what else they depend on."""
    tried: dict[tuple[str, str], dict[int, tuple[str, Result]]] = {}
    for label, run in runs.items():
        others = repr({k: v for k, v in _settings(run).items() if k not in ("seed", "posteriors")})
        for name, result in run.results.items():
            # The same seed again would be the same numbers again.
            tried.setdefault((name, others), {}).setdefault(run.config.seed, (label, result))
    return tried


def _averages(
    tried: Mapping[int, tuple[str, Result]], averaged: Mapping[str, Callable[[Result], float]]
) -> list[str]:
    cells: list[str] = []
    for name, value in averaged.items():
        values = [value(result) for _, result in tried.values()]
        mean, error = mean_and_error(torch.tensor(values, dtype=torch.float64))
        digits = 4 if name == "bits/dim" else 2
        cells += [f"{mean:.{digits}f} ± {error:.{digits}f}"]
    return cells


def _settings(run: Run) -> dict[str, Any]:
    # Of an automatic likelihood, the one it came to.
    return run.config.model_dump() | {"likelihood": run.format.likelihood}


def _text(value: Any) -> str:
    if value is None:
        return "default"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
