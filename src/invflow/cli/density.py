"""`invflow density`, and how its runs, and those of its students, are sampled and scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from invflow.cli import terminal
from invflow.cli.files import output

if TYPE_CHECKING:
    import pandas as pd

    from invflow.density.config import Config
    from invflow.density.table import Source
    from invflow.density.table.samples import Floats

HELP = """Learn the density of a table's rows, and report how well it fits held-out rows.

Writes RUNS/NAME/ with the density, checkpoints, metrics and report.html. The same command resumes a
run that was stopped; a finished one is reported again, not trained.
"""
EXAMPLES = (
    "density table.csv --auto --steps 500",
    "density table.csv --name wide --flow maf --hidden-features 64,64 --steps 500",
)
#: Number of rows drawn by default.
ROWS = 1000
#: The columns that scores add to a table.
SCORE, USUAL = "log_density", "p_value"


def sample(
    run: Path,
    count: int | None,
    out: Path | None,
    seed: int,
    given: str | None,
    fill: Path | None,
    expected: bool | None,
) -> None:
    """Draw rows into a table, or the missing values of one."""
    import numpy as np
    import pandas as pd

    from invflow.density.data import dialect
    from invflow.density.table import write
    from invflow.density.table.files.spelling import rounded
    from invflow.density.table.files.write import WRITABLE
    from invflow.distillation import run as students

    kept = {"--given": given, "--fill": fill, "the table of the run": students.table(run)}
    path = output(out or run / "samples.csv", WRITABLE, kept)
    if given is not None and fill is not None:
        raise ValueError(
            "--given cannot be combined with --fill, whose rows have their own context"
        )
    if expected and (fill is None or count is not None):
        raise ValueError("--expected needs --fill, and cannot be combined with --count")
    density, config = students.density(run), students.learned(run)
    like = None if config is None else dialect(config, path)
    spelling = {} if like is None else like.spelling
    random = np.random.RandomState(np.random.MT19937(seed))
    with terminal.warnings():
        if fill is not None:
            gaps = _rows(config, fill)
            if expected:
                rows = density.expected(gaps, random_state=random)
            else:
                drawn = density.sample_conditional(gaps, count or 1, random_state=random)
                missing = np.tile(gaps[drawn.columns].isna(), (count or 1, 1))
                rows = drawn.mask(missing, rounded(drawn, spelling))
                if isinstance(gaps.index, pd.RangeIndex):
                    rows = rows.reset_index(drop=True)
        else:
            contexts = None if given is None else _rows(config, Path(given))
            several = 0 if contexts is None or len(contexts) == 1 else len(contexts)
            rows = density.sample(count or several or ROWS, given=contexts, random_state=random)
            rows = rounded(rows, spelling)
    write(rows, path, like, density.container_.schema)
    terminal.say(f"{len(rows)} rows: {path}")


def score(run: Path, data: str, out: Path | None) -> None:
    """Write the rows of a table with their log density, and how usual they are."""
    import numpy as np

    from invflow.density.checks.calibration import anomaly
    from invflow.density.data import dialect, renamed
    from invflow.density.table import write_blocks
    from invflow.density.table.files.write import WRITABLE
    from invflow.density.table.source import Frame, Projection
    from invflow.distillation import run as students

    kept = {"the table to score": data, "the table of the run": students.table(run)}
    path = output(out or run / "scores.csv", WRITABLE, kept)
    density, config = students.density(run), students.learned(run)
    table = _read(config, Path(data))
    taken = [name for name in (SCORE, USUAL) if name in table.names]
    if taken:
        raise ValueError(
            f"{data} already has a column {taken[0]!r}, the name of a score: rename it"
        )
    known = [name for name in table.names if name in density.columns_.names]
    _check_names(data, table, len(known), len(density.columns_.names))
    scores = density.score_samples(Projection(table, known))
    p_values = anomaly(scores, density.reference_)
    own = table.dialect if isinstance(table, Frame) else None
    if own is not None:
        like = replace(renamed(own, Path(data), path), header=True)
    else:
        like = None if config is None else replace(dialect(config, path), header=True, index=None)
    scored = _beside(table, {SCORE: scores, USUAL: p_values})
    write_blocks(scored, path, like, table.schema)
    finite = scores[np.isfinite(scores)]
    error = finite.std(ddof=1) / np.sqrt(len(finite)) if len(finite) > 1 else np.nan
    rows = [("mean log density", f"{scores.mean():.4g} ± {error:.2g}")]
    if len(finite) < len(scores):
        rows += [("rows of density zero", str(len(scores) - len(finite)))]
    rows += [(f"rows with p-value below {a}", str((p_values < a).sum())) for a in (0.05, 0.01)]
    terminal.table(f"{len(scores)} rows, nats per row", ("", ""), rows)
    terminal.say(f"Scores: {path}")


def _check_names(data: str, table: Source, known: int, wanted: int) -> None:
    """See that it is clear which columns of an array the density knows."""
    from invflow.density.table.labels import numbered_names

    count = len(table.names)
    is_array = Path(data).suffix.lower() in (".npy", ".npz")
    if is_array and list(table.names) == list(numbered_names(count)) and known < count:
        raise ValueError(f"{data} has {count} columns without names; the density has {wanted}")


def _read(config: Config | None, path: Path) -> Source:
    """Return a table, read like that of the run; as it is, if the run is gone."""
    from invflow.density import data
    from invflow.density.table import read

    return read(path) if config is None else data.table(config, path)


def _rows(config: Config | None, path: Path) -> pd.DataFrame:
    """Return the table in a file, whole."""
    import pandas as pd

    from invflow.density.table.source import blocks

    return pd.concat(list(blocks(_read(config, path))))


def _beside(table: Source, columns: Mapping[str, Floats]) -> Iterator[pd.DataFrame]:
    """Give the blocks of a table with more columns."""
    from invflow.density.table.source import blocks

    first = 0
    for block in blocks(table):
        rows = slice(first, first + len(block))
        yield block.assign(**{name: values[rows] for name, values in columns.items()})
        first += len(block)
