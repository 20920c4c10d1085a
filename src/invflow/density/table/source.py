"""Where the rows of a table come from: memory, or a file a few row groups at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from invflow.density.table.labels import Label, axis, unique


@runtime_checkable
class Source(Protocol):
    """Rows of a table, in blocks.

    Attributes:
        names: labels of the columns, in which those of a block are found (`labels.axis`).
        blocks: how many rows each block has.
    """

    @property
    def names(self) -> tuple[Label, ...]: ...

    @property
    def blocks(self) -> Sequence[int]: ...

    def block(self, number: int) -> pd.DataFrame:
        """Return the rows of a block."""
        ...


class Frame:
    """A table in memory, one block.

    Args:
        frame: the table, whose columns have labels of any type.

    Raises:
        ValueError: columns of the same label, or without.

    Example:
        >>> Frame(pd.DataFrame({"a": [1, 2], "b": [0.5, 0.7]})).names
        ('a', 'b')
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.names = unique(frame.columns)
        self.blocks = (len(frame),)
        self._frame = frame.set_axis(axis(self.names), axis=1)

    def block(self, number: int) -> pd.DataFrame:
        return self._frame


class Parquet:
    """A Parquet file, whose row groups are the blocks: only those in use are in memory.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, of another kind, or has columns of the same name.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path} does not exist")
        try:
            metadata = self._file.metadata
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{self.path} is not a whole Parquet file: {error}") from error
        self.names = unique(_frame(self._file.schema_arrow.empty_table()).columns)
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        self._numbers = [i for i, group in enumerate(groups) if group.num_rows]
        self.blocks = tuple(groups[i].num_rows for i in self._numbers)
        #: What the table takes in memory, of numbers; encoded, in the file, it may be much less.
        self.bytes = 8 * len(self.names) * sum(self.blocks)

    @cached_property
    def _file(self) -> Any:
        return parquet.ParquetFile(self.path)

    def block(self, number: int) -> pd.DataFrame:
        try:
            rows = _frame(self._file.read_row_group(self._numbers[number]))
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{self.path} is no longer a whole Parquet file: {error}") from error
        return rows.set_axis(axis(self.names), axis=1)

    def whole(self) -> Frame:
        """Return the table in memory."""
        return Frame(_frame(self._file.read()))


class Selection:
    """Some blocks of a source.

    Args:
        source: where they are.
        numbers: which.
    """

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self.names = source.names
        self.blocks = tuple(source.blocks[i] for i in numbers)
        self._source = source
        self._numbers = tuple(numbers)

    def block(self, number: int) -> pd.DataFrame:
        return self._source.block(self._numbers[number])


class Projection:
    """Some columns of a source.

    Args:
        source: where they are.
        names: which.

    Example:
        >>> table = Frame(pd.DataFrame({"id": [1, 2], "a": [0.5, 0.7]}))
        >>> list(Projection(table, ("a",)).block(0))
        ['a']
    """

    def __init__(self, source: Source, names: Sequence[Label]) -> None:
        self.names = tuple(names)
        self.blocks = tuple(source.blocks)
        self._source = source
        self._places = [source.names.index(name) for name in names]

    def block(self, number: int) -> pd.DataFrame:
        # Not by label, as a list of booleans is a mask.
        return self._source.block(number).iloc[:, self._places]


class Renamed:
    """A source whose columns have other names.

    Args:
        source: where the rows are.
        names: of its columns, in their order.

    Raises:
        ValueError: columns of the same name, or without.

    Example:
        >>> Renamed(Frame(pd.DataFrame({1: [0.5], 2: [0.7]})), ("a", "b")).names
        ('a', 'b')
    """

    def __init__(self, source: Source, names: Sequence[Label]) -> None:
        self.names = unique(names)
        self.blocks = tuple(source.blocks)
        self._source = source

    def block(self, number: int) -> pd.DataFrame:
        return self._source.block(number).set_axis(axis(self.names), axis=1)


def blocks(source: Source) -> Iterator[pd.DataFrame]:
    """Give the blocks of a source, one after the other."""
    return map(source.block, range(len(source.blocks)))


def split(source: Source, fraction: float, random: np.random.Generator) -> tuple[Source, Source]:
    """Set rows aside at random; whole blocks where there are several.

    Args:
        source: the rows.
        fraction: of the rows to set aside; one at least, and not all.
        random: decides which.

    Returns:
        The rows to train on, and those set aside.
    """
    if len(source.blocks) == 1:
        frame = source.block(0)
        order = random.permutation(len(frame))
        aside = min(max(1, round(fraction * len(frame))), len(frame) - 1)
        return Frame(frame.iloc[np.sort(order[aside:])]), Frame(frame.iloc[order[:aside]])
    order = random.permutation(len(source.blocks)).tolist()
    aside = min(max(1, round(fraction * len(order))), len(order) - 1)
    return Selection(source, sorted(order[aside:])), Selection(source, sorted(order[:aside]))


def _frame(table: Any) -> pd.DataFrame:
    """Return a table with its index, where that has a name, as a column."""
    frame = table.to_pandas()
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index(named) if named else frame
