"""`invflow sample` of a density run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from invflow.cli import terminal
from invflow.cli.density.tables import table, target
from invflow.cli.density.words import spoken, words
from invflow.density.table import write
from invflow.distillation import run as students

#: Rows, where nothing says how many.
COUNT = 1000


@spoken()
def sample(
    run: Path, count: int | None, given: Path | None, fill: Path | None, out: Path | None, seed: int
) -> None:
    """Draw rows into a table, or what is missing in one."""
    kept = {"--given": given, "--fill": fill, "the table of the run": students.table(run)}
    path = target(out, run / "samples.csv", kept)
    if given is not None and fill is not None:
        raise ValueError("--given does not go with --fill, whose rows are given themselves")
    density = students.density(run)
    # scikit-learn takes smaller seeds.
    random = np.random.RandomState(np.random.MT19937(seed))
    with terminal.warnings(words):
        if fill is not None:
            rows = density.sample_conditional(table(fill), count or 1, random_state=random)
        else:
            contexts = None if given is None else table(given)
            several = 0 if contexts is None or len(contexts) == 1 else len(contexts)
            wanted = count or several or COUNT
            rows = density.sample(wanted, given=contexts, random_state=random)
    write(rows, path)
    terminal.say(f"{len(rows)} rows: {path}")
