"""The rows of a table: in memory, or in a file that is read a few row groups at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from invflow.density.table import arrow
from invflow.density.table.dialect import Dialect
from invflow.density.table.labels import Label, axis, unique

#: Rows that are looked at together: a few megabytes of most tables.
PIECE = 2**14


@runtime_checkable
class Source(Protocol):
    """Rows of a table, in blocks.

    Attributes:
        names: labels of the columns.
        blocks: number of rows of each block.
        schema: Arrow's types of the columns in a Parquet file, None otherwise.
    """

    @property
    def names(self) -> tuple[Label, ...]: ...

    @property
    def blocks(self) -> Sequence[int]: ...

    @property
    def schema(self) -> Any: ...

    def block(self, number: int) -> pd.DataFrame:
        """Return the rows of a block, with columns that are found by label (`labels.axis`)."""
        ...


class Frame:
    """A table in memory, as one block.

    Args:
        frame: the table, with column labels of any type.
        schema: Arrow's types of the columns, if it comes from a Parquet file.
        dialect: of the text file that it comes from, complete.

    Raises:
        ValueError: if two columns have the same label, or one has none.

    Example:
        >>> Frame(pd.DataFrame({"a": [1, 2], "b": [0.5, 0.7]})).names
        ('a', 'b')
    """

    def __init__(
        self, frame: pd.DataFrame, schema: Any = None, dialect: Dialect | None = None
    ) -> None:
        self.names = unique(frame.columns)
        self.blocks = (len(frame),)
        self.schema = schema
        self.dialect = dialect
        self._frame = arrow.plain(frame).set_axis(axis(self.names), axis=1)

    def block(self, number: int) -> pd.DataFrame:
        return self._frame


class Selection:
    """Some blocks of a source.

    Args:
        source: the table.
        numbers: of the blocks.
    """

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self.names = source.names
        self.blocks = tuple(source.blocks[i] for i in numbers)
        self.schema = source.schema
        self._source = source
        self._numbers = tuple(numbers)

    def block(self, number: int) -> pd.DataFrame:
        return self._source.block(self._numbers[number])


class Chosen:
    """Some rows of a table in memory, which are copied only while they are used.

    Args:
        source: the table, a single block.
        rows: their places, shape (rows,).

    Example:
        >>> Chosen(Frame(pd.DataFrame({"a": [3, 1, 2]})), np.array([2, 0])).block(0)["a"].tolist()
        [2, 3]
    """

    def __init__(self, source: Source, rows: NDArray[np.int64]) -> None:
        if isinstance(source, Chosen):
            source, rows = source.source, source.rows[rows]
        self.names = source.names
        self.blocks = (len(rows),)
        self.schema = source.schema
        self.source = source
        self.rows = rows

    def block(self, number: int) -> pd.DataFrame:
        return self.source.block(0).iloc[self.rows]


class Projection:
    """Some columns of a source.

    Args:
        source: the table.
        names: of the columns.

    Example:
        >>> table = Frame(pd.DataFrame({"id": [1, 2], "a": [0.5, 0.7]}))
        >>> list(Projection(table, ("a",)).block(0))
        ['a']
    """

    def __init__(self, source: Source, names: Sequence[Label]) -> None:
        self.names = tuple(names)
        self.blocks = tuple(source.blocks)
        self.schema = source.schema
        self._source = source
        self._places = [source.names.index(name) for name in names]

    def block(self, number: int) -> pd.DataFrame:
        block = self._source.block(number)
        if self._places == list(range(block.shape[1])):
            return block
        # Not by label: a list of booleans would be a mask.
        return block.iloc[:, self._places]


class Renamed:
    """A source with other names of columns.

    Args:
        source: the table.
        names: new names of its columns, in order.

    Raises:
        ValueError: if two names are the same, or one is empty.

    Example:
        >>> Renamed(Frame(pd.DataFrame({1: [0.5], 2: [0.7]})), ("a", "b")).names
        ('a', 'b')
    """

    def __init__(self, source: Source, names: Sequence[Label]) -> None:
        self.names = unique(names)
        self.blocks = tuple(source.blocks)
        self.schema = source.schema
        self._source = source

    def block(self, number: int) -> pd.DataFrame:
        return self._source.block(number).set_axis(axis(self.names), axis=1)


def blocks(source: Source) -> Iterator[pd.DataFrame]:
    """Yield the blocks of a source, one after the other."""
    return map(source.block, range(len(source.blocks)))


def pieces(source: Source) -> Iterator[pd.DataFrame]:
    """Yield all rows in order, at most `PIECE` at a time."""
    for number in range(len(source.blocks)):
        yield from parts(source, number)


def parts(source: Source, number: int) -> Iterator[pd.DataFrame]:
    """Yield the rows of a block in order, at most `PIECE` at a time; only these are copied."""
    rows = source.rows if isinstance(source, Chosen) else None
    block = source.source.block(0) if isinstance(source, Chosen) else source.block(number)
    for first in range(0, source.blocks[number], PIECE):
        own = slice(first, first + PIECE)
        yield block.iloc[own if rows is None else rows[own]]


def split(source: Source, fraction: float, random: np.random.Generator) -> tuple[Source, Source]:
    """Split rows at random; if there are several blocks, whole blocks.

    Args:
        source: the rows.
        fraction: of the rows (or blocks) to hold out; at least one, and not all.
        random: random numbers.

    Returns:
        The remaining rows, and those held out.
    """
    if len(source.blocks) == 1:
        count = source.blocks[0]
        order = random.permutation(count)
        held = min(max(1, round(fraction * count)), count - 1)
        return Chosen(source, np.sort(order[held:])), Chosen(source, order[:held].copy())
    order = random.permutation(len(source.blocks)).tolist()
    held = min(max(1, round(fraction * len(order))), len(order) - 1)
    return Selection(source, sorted(order[held:])), Selection(source, sorted(order[:held]))
