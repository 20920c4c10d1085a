"""`invflow density`, and how its runs, and those of its students, are sampled and scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from invflow.cli import terminal
from invflow.cli.files import output

if TYPE_CHECKING:
    import pandas as pd

    from invflow.density.config import Config
    from invflow.density.estimator import FlowDensity
    from invflow.density.table import Source
    from invflow.density.table.labels import Label
    from invflow.density.table.samples import Floats

HELP = """Learn the density of a table's rows, or of images, and report how well it fits.

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
#: What the names of columns with probabilities begin with.
PROBABILITY = "probability_"
#: Values of a column that are shown.
SHOWN = 10


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
    from invflow.density.table.source import Projection
    from invflow.distillation import run as students

    path = _beside_path(run, data, out or run / "scores.csv")
    density, config = students.density(run), students.learned(run)
    table = _read(config, Path(data))
    _check_free(data, table, (SCORE, USUAL), "a score")
    known = _known(data, table, density)
    scores = density.score_samples(Projection(table, known))
    p_values = anomaly(scores, density.reference_)
    _write_beside(table, {SCORE: scores, USUAL: p_values}, data, path, config)
    finite = scores[np.isfinite(scores)]
    error = finite.std(ddof=1) / np.sqrt(len(finite)) if len(finite) > 1 else np.nan
    rows = [("mean log density", f"{scores.mean():.4g} ± {error:.2g}")]
    if len(finite) < len(scores):
        rows += [("rows of density zero", str(len(scores) - len(finite)))]
    rows += [(f"rows with p-value below {a}", str((p_values < a).sum())) for a in (0.05, 0.01)]
    terminal.table(f"{len(scores)} rows, nats per row", ("", ""), rows)
    terminal.say(f"Scores: {path}")


def classify(run: Path, data: str, column: str, out: Path | None) -> None:
    """Write the rows of a table with the probability of each value of a column."""
    import pandas as pd

    from invflow.density.table.source import Projection, blocks
    from invflow.distillation import run as students

    path = _beside_path(run, data, out or run / "classes.csv")
    density, config = students.density(run), students.learned(run)
    table = _read(config, Path(data))
    known = Projection(table, _known(data, table, density))
    missing = [name for name in density.columns_.names if name not in (*known.names, column)]
    if missing:
        raise ValueError(f"{data} lacks the column {missing[0]!r}; only {column!r} may be missing")
    chances = pd.concat([density.probabilities(block, column) for block in blocks(known)])
    likeliest = chances.idxmax(axis=1)
    added = {f"{PROBABILITY}{value}": chances[value].to_numpy() for value in chances}
    _check_free(data, table, tuple(added), "a probability")
    _write_beside(table, added, data, path, config)
    counts = likeliest.value_counts()
    rows = [(f"most likely {value}", str(counts[value])) for value in counts.index[:SHOWN]]
    if len(counts) > SHOWN:
        rows += [(f"most likely another of {len(counts)}", str(counts[SHOWN:].sum()))]
    if column in table.names:
        labels = pd.concat([block[column] for block in blocks(Projection(table, [column]))])
        given = labels.notna().to_numpy()
        right = (labels.to_numpy() == likeliest.to_numpy())[given]
        if len(right):
            rows += [(f"right, of {len(right)} whose {column} is given", f"{right.mean():.1%}")]
    terminal.table(f"{len(chances)} rows", ("", ""), rows)
    terminal.say(f"Probabilities: {path}")


def _beside_path(run: Path, data: str, out: Path) -> Path:
    """Return the file for the rows of a table with more columns."""
    from invflow.density.table.files.write import WRITABLE
    from invflow.distillation import run as students

    kept = {"the table itself": data, "the table of the run": students.table(run)}
    return output(out, WRITABLE, kept)


def _check_free(data: str, table: Source, names: Sequence[str], what: str) -> None:
    """Raise an error if a table already has one of the new names."""
    taken = [name for name in names if name in table.names]
    if taken:
        raise ValueError(f"{data} already has a column {taken[0]!r}, the name of {what}: rename it")


def _known(data: str, table: Source, density: FlowDensity) -> list[Label]:
    """Return the columns of a table that the density knows."""
    known = [name for name in table.names if name in density.columns_.names]
    _check_names(data, table, len(known), len(density.columns_.names))
    return known


def _write_beside(
    table: Source, columns: Mapping[str, Floats], data: str, path: Path, config: Config | None
) -> None:
    """Write the rows of a table with more columns, in its format."""
    from invflow.density.data import dialect, renamed
    from invflow.density.table import write_blocks
    from invflow.density.table.source import Frame

    own = table.dialect if isinstance(table, Frame) else None
    if own is not None:
        like = replace(renamed(own, Path(data), path), header=True)
    else:
        like = None if config is None else replace(dialect(config, path), header=True, index=None)
    write_blocks(_beside(table, columns), path, like, table.schema)


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
