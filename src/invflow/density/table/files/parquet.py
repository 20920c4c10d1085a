"""Parquet files, read as a whole or a few row groups at a time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from invflow._readable import check_expansion, check_readable, first_line
from invflow.density.table import arrow
from invflow.density.table.labels import axis, unique
from invflow.density.table.limits import check_columns
from invflow.density.table.source import Frame


class Parquet:
    """A Parquet file, with its row groups as blocks: only those in use are in memory.

    Args:
        path: of the file.

    Raises:
        OSError: if there is no such file, or it cannot be read.
        ValueError: if it is damaged, not a Parquet file, or has two columns with the same name.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        check_readable(self.path)
        with self._errors("is not a complete Parquet file"):
            metadata = self._file.metadata
            self.schema = self._file.schema_arrow
            self.names = unique(arrow.frame(self.schema.empty_table()).columns)
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        self._numbers = [i for i, group in enumerate(groups) if group.num_rows]
        self.blocks = tuple(groups[i].num_rows for i in self._numbers)
        #: Size in memory of a table of numbers; the encoded file may be much smaller.
        self.bytes = 8 * len(self.names) * sum(self.blocks)
        check_columns(self.path, len(self.names))
        largest = 8 * len(self.names) * max(self.blocks, default=0)
        check_expansion(self.path, largest, self.path.stat().st_size)

    @cached_property
    def _file(self) -> Any:
        # Otherwise it keeps the bytes of the file.
        return parquet.ParquetFile(self.path, pre_buffer=False)

    def block(self, number: int) -> pd.DataFrame:
        with self._errors("is damaged, or was changed while it was read"):
            rows = arrow.frame(self._file.read_row_group(self._numbers[number]))
        return rows.set_axis(axis(self.names), axis=1)

    def whole(self) -> Frame:
        """Return the table in memory."""
        with self._errors("is damaged"):
            return Frame(arrow.frame(self._file.read()), self.schema)

    @contextmanager
    def _errors(self, what: str) -> Generator[None]:
        """Name the file in errors of the Parquet reader."""
        try:
            yield
        except MemoryError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self.path} {what}: {first_line(error)}") from error
