"""The table of a run: its rows, numbered, and those held out to test the density."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

try:
    import pandas as pd
except ImportError as error:
    raise ImportError('the data of a run need pandas: pip install "invflow[density]"') from error

from invflow.density.config import Config
from invflow.density.table import Source, read
from invflow.density.table.dialect import Dialect
from invflow.density.table.labels import Label, columns_named
from invflow.density.table.source import Projection, split

#: Number of rows that a table needs, so that there are some to train, stop and test with.
ENOUGH = 20


class Numbered:
    """A source whose frames have the numbers of rows as index, counted through from zero.

    Args:
        source: the rows.

    Example:
        >>> from invflow.density.table import Frame
        >>> table = pd.DataFrame({"a": [0.5, 0.7]}, index=["x", "y"])
        >>> list(Numbered(Frame(table)).block(0).index)
        [0, 1]
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._first = [0, *accumulate(source.blocks)]

    @property
    def names(self) -> tuple[Label, ...]:
        return self._source.names

    @property
    def blocks(self) -> Sequence[int]:
        return self._source.blocks

    @property
    def schema(self) -> Any:
        return self._source.schema

    def block(self, number: int) -> pd.DataFrame:
        rows = pd.RangeIndex(self._first[number], self._first[number + 1])
        return self._source.block(number).set_axis(rows, axis=0)


@dataclass(frozen=True)
class Data:
    """The rows of a run.

    Attributes:
        whole: all of them.
        train: those to learn from, and to stop by.
        test: those that judge the density.
        digest: of the file that they come from.
    """

    whole: Source
    train: Source
    test: Source
    digest: str


def table(config: Config, path: Path | None = None) -> Source:
    """Return the table of a run, or another one that is read by the same rules.

    Args:
        config: the settings of the run.
        path: of the table; None for where that of the run was.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or of an unknown kind.
    """
    path = Path(config.data) if path is None else path
    return read(path, dialect(config, path), config.na)


def dialect(config: Config, path: Path) -> Dialect:
    """Return the dialect of a file that is read or written like the table of a run."""
    return renamed(config.reading, Path(config.data), path)


def renamed(dialect: Dialect, own: Path, path: Path) -> Dialect:
    """Return the dialect of a file for one of another name.

    Example:
        >>> renamed(Dialect(separator=";"), Path("a.csv"), Path("b.csv.gz")).separator
        ';'
        >>> renamed(Dialect(separator=";"), Path("a.csv"), Path("b.tsv")).separator is None
        True
    """
    same = [all(kind in each.name.lower() for each in (own, path)) for kind in (".csv", ".tsv")]
    # Another ending promises another separator.
    return dialect if any(same) else replace(dialect, separator=None)


def columns(config: Config, source: Source) -> Source:
    """Return the columns of a table that a run is about.

    Raises:
        ValueError: if `only` or `drop` name a column that does not exist, or leave none.
    """
    wanted = columns_named("--only", config.only, source.names) or source.names
    left_out = columns_named("--drop", config.drop, source.names)
    kept = [name for name in wanted if name not in left_out]
    if not kept:
        raise ValueError(f"no column is left of {config.data}: drop fewer")
    return Projection(source, kept)


def load(config: Config, path: Path | None = None) -> Data:
    """Return the rows of a run; of a file in several parts, whole parts are held out.

    Args:
        config: its settings.
        path: where the table is now; None for where it was.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or of an unknown kind, or has too few rows.
    """
    path = Path(config.data) if path is None else path
    source = Numbered(columns(config, table(config, path)))
    count = sum(source.blocks)
    if count < ENOUGH:
        raise ValueError(
            f"{path} has {count} row(s); a run takes {ENOUGH} or more, some of which are "
            "held out to test the density"
        )
    # Not the seed's own numbers, which split what is left once more.
    random = np.random.default_rng([config.seed, 1])
    train, test = split(source, config.test_fraction, random)
    for name, part in (("learn from", train), ("judge by", test)):
        if sum(part.blocks) < 2:
            raise ValueError(
                f"test_fraction {config.test_fraction} leaves {sum(part.blocks)} of {count} rows "
                f"to {name}, 2 or more are needed"
            )
    with path.open("rb") as file:
        return Data(source, train, test, hashlib.file_digest(file, "sha256").hexdigest())
