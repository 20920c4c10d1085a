"""`invflow score` of a density run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from invflow.cli import terminal
from invflow.cli.density.tables import target
from invflow.cli.density.words import spoken
from invflow.density.checks.calibration import anomaly
from invflow.density.table import Source, read, write_blocks
from invflow.density.table.columns import numbered_names
from invflow.density.table.samples import Floats
from invflow.density.table.source import Projection, blocks
from invflow.distillation import run as students

#: What is written beside the columns of the table.
SCORE, USUAL = "log_density", "p_value"


@spoken()
def score(run: Path, data: Path, out: Path | None) -> None:
    """Write the rows of a table with their log density, and how usual they are.

    Columns that the density does not know, such as the name of a row, go with them.
    """
    kept = {"the table to score": data, "the table of the run": students.table(run)}
    path = target(out, run / "scores.csv", kept)
    density = students.density(run)
    table = read(data)
    taken = [name for name in (SCORE, USUAL) if name in table.names]
    if taken:
        raise ValueError(
            f"{data} has a column {taken[0]!r}, which is what scores are named: name it otherwise"
        )
    known = [name for name in table.names if name in density.columns_.names]
    unnamed = data.suffix.lower() in (".npy", ".npz") and list(table.names) == list(
        numbered_names(len(table.names))
    )
    if unnamed and len(known) < len(table.names):  # nothing says which of them is unknown
        raise ValueError(
            f"{data} has {len(table.names)} columns without names, "
            f"the density knows {len(density.columns_.names)}"
        )
    scores = density.score_samples(Projection(table, known))
    p_values = anomaly(scores, density.reference_)
    write_blocks(_beside(table, {SCORE: scores, USUAL: p_values}), path)
    finite = scores[np.isfinite(scores)]
    error = finite.std(ddof=1) / np.sqrt(len(finite)) if len(finite) > 1 else np.nan
    rows = [("mean log density", f"{scores.mean():.4g} ± {error:.2g}")]
    if len(finite) < len(scores):
        rows += [("rows of density zero", str(len(scores) - len(finite)))]
    rows += [(f"rows with p-value below {a}", str((p_values < a).sum())) for a in (0.05, 0.01)]
    terminal.table(f"{len(scores)} rows, nats per row", ("", ""), rows)
    terminal.say(f"Scores: {path}")


def _beside(table: Source, columns: Mapping[str, Floats]) -> Iterator[pd.DataFrame]:
    """Give the blocks of a table with more columns."""
    first = 0
    for block in blocks(table):
        rows = slice(first, first + len(block))
        yield block.assign(**{name: values[rows] for name, values in columns.items()})
        first += len(block)
