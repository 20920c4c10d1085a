"""Arrow tables as frames of plain types, and back: numbers, text, categories, dates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from invflow.density.table.objects import held

#: Types of columns with gaps that plain pandas does not have, or would make floats.
NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def frame(table: Any) -> pd.DataFrame:
    """Return an Arrow table as a frame, with a named index as columns.

    Decimals become floats, and days dates at midnight. What pandas wrote comes back as it was.
    Numbers without gaps are not copied, and cannot be written to: a large table is in memory once.

    Example:
        >>> frame(pa.table({"a": [1, None], "b": [True, False]})).dtypes.astype(str).tolist()
        ['Int64', 'bool']
    """
    simple = pa.Table.from_arrays(
        [_simple(column) for column in table.columns], names=table.column_names
    )
    if table.schema.pandas_metadata:
        described = simple.replace_schema_metadata(table.schema.metadata)
        found = plain(described.to_pandas(split_blocks=True))
        named = [name for name in found.index.names if name is not None]
        return found.reset_index(named) if named else found
    # By number, as names may occur twice.
    found = {i: series(column) for i, column in enumerate(simple.columns)}
    labels = pd.Index(table.column_names, dtype="str")
    return pd.DataFrame(found, index=range(len(table)), copy=False).set_axis(labels, axis=1)


def plain(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns have plain types, none of Arrow's and no foreign byte order.

    Example:
        >>> rows = pd.DataFrame({"a": pd.array([1, None], dtype="int64[pyarrow]"), "b": [0.5, 1.5]})
        >>> plain(rows).dtypes.astype(str).tolist()
        ['Int64', 'float64']
    """
    found = rows.copy(deep=False)
    for i, dtype in enumerate(rows.dtypes):
        column = rows.iloc[:, i]
        if isinstance(dtype, pd.ArrowDtype):
            simple = series(pa.chunked_array([pa.array(column)]))
        elif isinstance(dtype, np.dtype) and not dtype.isnative:
            simple = column.astype(dtype.newbyteorder("="))
        elif _is_datetime(column):
            simple = pd.to_datetime(column)
        elif held(column) in ("timedelta", "timedelta64"):
            simple = pd.to_timedelta(column)
        else:
            continue
        found.isetitem(i, simple.array)
    return found


def _is_datetime(column: Any) -> bool:
    """Whether a column of objects holds dates with a time, all in one zone."""
    kind, there = held(column), column.dropna()
    if kind == "date":
        return any(isinstance(value, datetime) for value in there)
    zones = {getattr(value, "tzinfo", None) for value in there}
    return kind in ("datetime", "datetime64") and len(zones) == 1


def types(rows: pd.DataFrame) -> Any:
    """Return the schema of the columns that have Arrow's types, by the text of their labels."""
    fields = [
        (str(name), dtype.pyarrow_dtype)
        for name, dtype in zip(rows.columns, rows.dtypes, strict=True)
        if isinstance(dtype, pd.ArrowDtype)
    ]
    return pa.schema(fields)


def typed(rows: pd.DataFrame, schema: Any) -> pd.DataFrame:
    """Return a frame whose columns have Arrow's types, where they can have them.

    Args:
        rows: with plain types.
        schema: of `types`.
    """
    found = rows.copy(deep=False)
    for i, name in enumerate(rows.columns):
        place = schema.get_field_index(str(name))
        if place < 0:
            continue
        kind = schema.field(place).type
        column = _cast(pa.array(rows.iloc[:, i], from_pandas=True), kind)
        if column.type == kind:
            found.isetitem(i, pd.arrays.ArrowExtensionArray(column))
    return found


def series(column: Any) -> Any:
    """Return a column of an Arrow table, whole numbers with gaps as such."""
    mapper = NULLABLE.get if column.null_count else None
    return _simple(column).to_pandas(types_mapper=mapper)


def _simple(column: Any) -> Any:
    kind = column.type
    if pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64())
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
    if kind == pa.time64("ns"):
        return column.cast(pa.time64("us"), safe=False)  # the resolution of Python's times
    return column


def table(rows: pd.DataFrame, schema: Any) -> Any:
    """Return rows as an Arrow table with the types of another, where they can have them.

    Args:
        rows: with the columns of the other table, or some of these. Their index is kept, unless it
            only counts them.
        schema: of the other table; None for the types that rows have.

    Example:
        >>> schema = pa.schema([("day", pa.date32()), ("price", pa.decimal128(6, 2))])
        >>> rows = pd.DataFrame({"day": pd.to_datetime(["2024-02-29"]), "price": [1.5]})
        >>> table(rows, schema).schema.types
        [DataType(date32[day]), Decimal128Type(decimal128(6, 2))]
    """
    counted = isinstance(rows.index, pd.RangeIndex) and rows.index.name is None
    found: Any = pa.Table.from_pandas(rows, preserve_index=not counted)
    if schema is None:
        return found
    for i, name in enumerate(found.column_names):
        place = schema.get_field_index(name)
        if place >= 0:
            column = _cast(found.column(i), schema.field(place).type)
            found = found.set_column(i, schema.field(place).with_type(column.type), column)
    return found


def _cast(column: Any, kind: Any) -> Any:
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return column
