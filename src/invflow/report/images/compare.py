"""Several densities of the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from invflow._averages import mean_and_error
from invflow.images.run import Run
from invflow.report import figures, page, pictures
from invflow.report.comparison import (
    Comparison,
    Outcome,
    Table,
    compared,
    differing,
    labelled,
    over_seeds,
    paired,
)
from invflow.report.images.write import COLUMNS, HEIGHT, drawn, highest, shown
from invflow.report.ranking import Differences, leader
from invflow.training import metrics

_MEASURE = "log probability"


def compare(runs: Sequence[Run]) -> Comparison:
    """Return the comparison of finished runs.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
        ValueError: if `runs` is empty, a run is given twice, or they are of different kinds or on
            different images.
    """
    named = labelled(runs, lambda run: run.format, "images")
    lines = {
        label: figures.evaluations(metrics.read(run.directory), "bits")
        for label, run in named.items()
    }
    return compared(
        title="invflow: comparison of densities of images",
        lead=f"{', '.join(named)}; test images of {Path(runs[0].config.data).name}",
        verdict=_ahead(named),
        measure="Test images",
        results=_results(named),
        text=_TEXT,
        seeds=over_seeds(_outcomes(named), {"bits per dimension": ".3f", "time, s": ".0f"}),
        settings=differing({label: run.config.model_dump() for label, run in named.items()}),
        others=[
            page.Section(
                "Training",
                panels=figures.curves(lines, HEIGHT, (None, highest(*lines.values()))),
                explore=figures.chart(lines, HEIGHT),
                text="Bits per dimension of validation images against steps and training time.",
            ),
            page.Section(
                "Samples",
                panels=[_samples(label, run) for label, run in named.items()],
                text="Images drawn from each density.",
            ),
        ],
    )


def _results(runs: Mapping[str, Run]) -> Table:
    """Return a head, and a row for each run."""
    first = next(iter(runs.values()))
    rows = [
        (
            label,
            shown(*run.bits, ".3f"),
            shown(*mean_and_error(run.scores, run.clusters), ".2f"),
            "" if run is first else paired(run.scores, first.scores, run.clusters),
            f"{run.results.seconds:.0f} s",
        )
        for label, run in runs.items()
    ]
    return [("run", "bits per dimension", "log probability", "gain", "time"), *rows]


def _ahead(runs: Mapping[str, Run]) -> page.Verdict | None:
    """Return which density is ahead; None if there is only one."""

    def better(mine: Outcome, others: Outcome) -> Differences:
        one, other = runs[mine.label], runs[others.label]
        return {_MEASURE: mean_and_error(one.scores - other.scores, one.clusters)}

    return leader(_outcomes(runs), better, _MEASURE)


def _outcomes(runs: Mapping[str, Run]) -> list[Outcome]:
    """Return what each density reached."""
    return [
        Outcome(
            label,
            "",
            run.config.seed,
            _settings(run),
            {"bits per dimension": run.bits[0], "time, s": run.results.seconds},
        )
        for label, run in runs.items()
    ]


def _settings(run: Run) -> dict[str, Any]:
    return {k: v for k, v in run.config.model_dump().items() if k not in ("seed", "data")}


def _samples(label: str, run: Run) -> page.Panel:
    classes = len(run.format.classes)
    labels = torch.arange(2 * COLUMNS) % classes if classes else torch.full((2 * COLUMNS,), -1)
    picture = pictures.grid(drawn(run, labels), COLUMNS)
    return pictures.strip(label, picture, run.format.levels, f"Images drawn from {label}.")


_TEXT = (
    "Means over test images, ± standard error. The log probability is a bound on it, in nats per "
    "image; bits per dimension are the same number per pixel and colour channel, where less is "
    "better. The gain is the difference in log probability from the first run, computed image by "
    "image. Time is training time."
)
