"""`invflow score` of a density run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from invflow.cli import terminal
from invflow.cli.density.tables import target
from invflow.density import student as students
from invflow.density.calibration import anomaly
from invflow.density.table import read, write


def score(run: Path, data: Path, out: Path | None) -> None:
    """Write the log density of rows, and how usual they are, beside their numbers from zero."""
    path = target(out, run / "scores.csv")
    density = students.density(run)
    scores = density.score_samples(read(data))
    p_values = anomaly(scores, density.reference_)
    columns = {"row": np.arange(len(scores)), "log_density": scores, "p_value": p_values}
    write(pd.DataFrame(columns), path)
    finite = scores[np.isfinite(scores)]
    error = finite.std(ddof=1) / np.sqrt(len(finite)) if len(finite) > 1 else np.nan
    rows = [("mean log density", f"{scores.mean():.4g} ± {error:.2g}")]
    if len(finite) < len(scores):
        rows += [("rows of density zero", str(len(scores) - len(finite)))]
    rows += [(f"rows with p-value below {a}", str((p_values < a).sum())) for a in (0.05, 0.01)]
    terminal.table(f"{len(scores)} rows, nats per row", ("", ""), rows)
    terminal.say(f"Scores: {path}")
