"""Tables of any data-frame library, converted to pandas and back."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd
import pyarrow as pa

from invflow.density.table import arrow


@dataclass(frozen=True)
class Container:
    """The library and the types of a table, in which results are returned.

    Attributes:
        kind: "numpy" for an array; "pandas arrow" for a frame of pandas with columns of Arrow's
            types; otherwise the library of a table, such as "pandas", "polars", "pyarrow" or
            "duckdb".
        schema: Arrow's types of its columns; None for arrays and plain frames of pandas, unless
            these come from a Parquet file.
    """

    kind: str
    schema: Any = None

    def give(self, frame: pd.DataFrame) -> Any:
        """Return rows as a table of this library with these types.

        Raises:
            ImportError: if the library is not installed.
        """
        if self.kind == "numpy":
            return frame.to_numpy()
        if self.kind == "pandas":
            return frame
        if self.kind == TYPED:
            return frame if self.schema is None else arrow.typed(frame, self.schema)
        import narwhals as nw

        table = arrow.table(frame.reset_index(drop=True), self.schema)
        if self.kind in LAZY:
            return nw.from_native(table).lazy(LAZY[self.kind]).to_native()
        return nw.from_arrow(table, backend=cast(Any, self.kind)).to_native()

    def to_dict(self) -> dict[str, Any]:
        """Return the container for JSON."""
        schema = self.schema
        packed = None if schema is None else base64.b64encode(schema.serialize()).decode()
        return {"kind": self.kind, "schema": packed}

    @classmethod
    def from_dict(cls, content: Any) -> Container:
        """Return the container from JSON.

        Raises:
            TypeError, ValueError: if it is not one.
        """
        kind, packed = content["kind"], content["schema"]
        if not isinstance(kind, str):
            raise TypeError(f"kind must be a string, got {kind!r}")
        if packed is None:
            return cls(kind)
        try:
            return cls(kind, pa.ipc.read_schema(pa.BufferReader(base64.b64decode(packed))))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"not the types of a table: {error}") from error


#: Frames of pandas with columns of Arrow's types.
TYPED = "pandas arrow"
#: Kinds whose labels of columns need not be text.
LABELLED = ("numpy", "pandas", TYPED)
#: Backends of tables that are computed lazily.
LAZY = {"duckdb": "duckdb", "polars lazy": "polars"}


def taken(X: Any) -> tuple[pd.DataFrame, Container] | None:
    """Return a table as a frame of plain types, and its container; None if it is not a table.

    Example:
        >>> frame, container = taken(pa.table({"a": [1, None]}))
        >>> str(frame["a"].dtype), container.kind, container.give(frame).schema.types
        ('Int64', 'pyarrow', [DataType(int64)])
    """
    if isinstance(X, pd.DataFrame):
        schema = arrow.types(X)
        return arrow.plain(X), Container(TYPED, schema) if len(schema) else Container("pandas")
    import narwhals as nw

    known = nw.from_native(X, pass_through=True)
    if isinstance(known, nw.LazyFrame):
        table = known.collect("pyarrow").to_native()
        kind = known.implementation.value
        return arrow.frame(table), Container(
            "polars lazy" if kind == "polars" else kind, table.schema
        )
    if not isinstance(known, nw.DataFrame):
        return None
    table = known.to_arrow()
    return arrow.frame(table), Container(known.implementation.value, table.schema)
