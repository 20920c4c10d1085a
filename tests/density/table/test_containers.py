"""Tables of other libraries: the same kind, names, order and types out as in."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from invflow.density import FlowDensity
from invflow.density.table import read, write
from invflow.density.table.containers import Container, taken
from tests.density.estimators import small

TABLE = pa.table(
    {
        "small": pa.array([1, None, 3], pa.int8()),
        "whole": pa.array([2**60 + 1, 5, 6], pa.int64()),
        "unsigned": pa.array([2**63, None, 1], pa.uint64()),
        "real": pa.array([0.5, None, 2.0], pa.float32()),
        "flag": pa.array([True, None, False]),
        "text": pa.array(["u", None, "v"], pa.large_string()),
        "level": pa.array(["u", None, "v"]).dictionary_encode(),
        "day": pa.array([datetime.date(2024, 2, 29), None, datetime.date(1901, 1, 1)]),
        "time": pa.array([datetime.time(1, 2, 3), None, datetime.time(0)], pa.time64("us")),
        "moment": pa.array([datetime.datetime(2024, 2, 29, 1)] * 3, pa.timestamp("ms", "UTC")),
        "price": pa.array([Decimal("1.50"), None, Decimal("-0.25")], pa.decimal128(8, 2)),
        "span": pa.array([datetime.timedelta(1), None, datetime.timedelta(0)], pa.duration("s")),
        "empty": pa.array([None, None, None], pa.float64()),
    }
)
PLAIN = {
    "small": "Int8",
    "whole": "int64",
    "unsigned": "UInt64",
    "real": "float32",
    "flag": "boolean",
    "text": "str",
    "level": "category",
    "day": "datetime64[s]",
    "time": "object",
    "moment": "datetime64[ms, UTC]",
    "price": "float64",
    "span": "timedelta64[s]",
    "empty": "float64",
}


def rows(kind: str) -> Any:
    """Return rows of numbers in a library."""
    source = np.random.default_rng(0)
    table = pa.table(
        {
            "b": pa.array(source.normal(size=50), pa.float32()),
            "a": pa.array(source.poisson(4, 50), pa.int16()),
        }
    )
    if kind == "pandas":
        return table.to_pandas()
    if kind == "pyarrow":
        return table
    if kind == "numpy":
        return table.to_pandas().to_numpy()
    library = pytest.importorskip("duckdb" if kind == "duckdb" else "polars")
    if kind == "duckdb":
        return library.from_arrow(table)
    frame = library.from_arrow(table)
    return frame.lazy() if kind == "lazy" else frame


def test_arrow_both_ways() -> None:
    known = taken(TABLE)
    assert known is not None
    frame, container = known
    assert frame.dtypes.astype(str).to_dict() == PLAIN
    assert frame["whole"].iloc[0] == 2**60 + 1
    again = Container.from_dict(json.loads(json.dumps(container.to_dict())))
    assert again.give(frame).equals(TABLE)


def test_some_columns_and_other_types() -> None:
    """What the types of the table cannot hold stays as it is."""
    _, container = taken(TABLE) or (None, None)
    assert container is not None
    found = container.give(pd.DataFrame({"small": [0.5, 300.0], "new": ["u", "v"]}))
    assert found.schema.names == ["small", "new"]
    assert found.column("small").to_pylist() == [0.5, 300.0]


@pytest.mark.parametrize("X", [np.ones((2, 2)), [[1, 2]], {"a": [1]}, "a.csv", 3])
def test_no_tables(X: Any) -> None:
    assert taken(X) is None


def test_containers_on_disk() -> None:
    for content in ({"kind": "pyarrow", "schema": "bm90IGEgc2NoZW1h"},):
        with pytest.raises(ValueError, match="not the types of a table"):
            Container.from_dict(content)
    with pytest.raises(TypeError, match="kind must be a string, got 1"):
        Container.from_dict({"kind": 1, "schema": None})


@pytest.mark.parametrize("kind", ["pandas", "pyarrow", "numpy", "polars", "lazy", "duckdb"])
def test_the_same_kind_out_as_in(kind: str, tmp_path: Any) -> None:
    X = rows(kind)
    density = small(steps=3).fit(X)
    density.save(tmp_path)
    for each in (density, FlowDensity.load(tmp_path)):
        drawn = each.sample(4, random_state=0)
        assert type(drawn) is type(X)
        if kind == "numpy":
            assert drawn.shape == (4, 2)
            continue
        if kind == "lazy":
            drawn, X_ = drawn.collect(), X.collect()
        else:
            X_ = X
        names = drawn.columns if kind != "pyarrow" else drawn.schema.names
        assert list(names) == ["b", "a"]
        known, expected = taken(drawn), taken(X_)
        assert known is not None
        assert expected is not None
        assert known[0].dtypes.to_dict() == expected[0].dtypes.to_dict()
        assert known[1].schema == expected[1].schema
    same = X if kind == "numpy" else rows("pandas")
    np.testing.assert_array_equal(density.score_samples(X), density.score_samples(same))


def test_parquet(tmp_path: Any) -> None:
    """Types that pandas does not have come back in the file that is written."""
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    source = read(tmp_path / "a.parquet")
    assert source.block(0).dtypes.astype(str).to_dict() == PLAIN
    write(source.block(0), tmp_path / "b.parquet", schema=source.schema)
    found = parquet.read_table(tmp_path / "b.parquet")
    assert found.schema.types == TABLE.schema.types
    assert found.replace_schema_metadata(None).equals(TABLE)


def test_parquet_of_pandas(tmp_path: Any) -> None:
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None], dtype="Int64"),
            "c": pd.Categorical(["u", "v"], ["v", "u"], ordered=True),
            "price": [Decimal("1.50"), Decimal("2.25")],
            "day": [datetime.date(2024, 2, 29), datetime.date(2024, 3, 1)],
        },
        index=pd.MultiIndex.from_tuples([("p", 1), ("q", 2)], names=["k", "j"]),
    )
    frame.to_parquet(tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet").block(0)
    assert list(found) == ["k", "j", "n", "c", "price", "day"]
    assert found["c"].dtype == frame["c"].dtype
    assert found["n"].dtype == frame["n"].dtype
    assert found["price"].tolist() == [1.5, 2.25]
    assert found["day"].dt.day.tolist() == [29, 1]


def test_a_frame_with_the_types_of_arrow(tmp_path: Any) -> None:
    """Such as `pandas.read_parquet(..., dtype_backend="pyarrow")` returns."""
    frame = TABLE.to_pandas(types_mapper=pd.ArrowDtype).rename(columns={"small": 7})
    taken_, container = taken(frame) or (None, None)
    assert taken_ is not None
    assert container is not None
    assert taken_.dtypes.astype(str).tolist() == list(PLAIN.values())
    again = Container.from_dict(json.loads(json.dumps(container.to_dict())))
    pd.testing.assert_frame_equal(again.give(taken_), frame)
    # What the types cannot hold stays as it is.
    found = again.give(pd.DataFrame({7: [0.5, 300.0], "new": ["u", "v"]}))
    assert found.dtypes.astype(str).tolist() == ["float64", "str"]


@pytest.mark.parametrize(
    "kind",
    [
        pa.decimal128(12, 2),
        pa.date32(),
        pa.time32("s"),
        pa.timestamp("ms", "Europe/Berlin"),
        pa.duration("s"),
        pa.dictionary(pa.int32(), pa.string()),
        pa.int8(),
        pa.bool_(),
    ],
)
def test_densities_of_frames_with_the_types_of_arrow(kind: Any, tmp_path: Any) -> None:
    source = np.random.default_rng(0)
    count = pa.array(source.poisson(4, 200).astype(np.int32))
    match str(kind).partition("[")[0].partition("(")[0].partition("<")[0]:
        case "decimal128" | "int8" | "date32" | "time32":
            column = count.cast(kind)
        case "bool":
            column = pa.array(np.asarray(count) > 3)
        case "dictionary":
            column = count.cast(pa.string()).dictionary_encode()
        case _:
            column = count.cast(pa.int64()).cast(kind)
    frame = pa.table({"a": column, "x": source.normal(size=200)}).to_pandas(
        types_mapper=pd.ArrowDtype
    )
    frame.loc[3, "a"] = None
    density = small(steps=3, missing="marginalise").fit(frame)
    density.save(tmp_path)
    for each in (density, FlowDensity.load(tmp_path)):
        drawn = each.sample(20, random_state=0)
        assert drawn.dtypes.tolist() == frame.dtypes.tolist()
        assert np.isfinite(each.score_samples(drawn)).all()
    filled = density.sample_conditional(frame, random_state=0)
    assert filled.dtypes.tolist() == frame.dtypes.tolist()
    assert filled.drop(3).equals(frame.drop(3))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([1.5, 2.5, 4.0], ">f8"), "float64"),
        (np.array([1, 2, 4], ">i4"), "int32"),
        ([datetime.datetime(2024, 1, 2, 3), None, datetime.datetime(2024, 1, 5)], "datetime64[us]"),
        # Dates, some of which have a time.
        ([datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 5, 7), None], "datetime64[us]"),
        ([datetime.timedelta(hours=3), None, datetime.timedelta(0)], "timedelta64[us]"),
        (
            [np.datetime64("2024-01-02T03", "us"), None],
            "datetime64[us]",
        ),
        ([datetime.date(2024, 1, 2), None, datetime.date(2024, 1, 5)], "object"),
        ([2**60 + 1, None, 7], "object"),
    ],
)
def test_columns_that_become_plain(values: Any, dtype: str) -> None:
    own = None if isinstance(values, np.ndarray) else object
    given = pd.Series(values, range(4, 4 + len(values)), dtype=own)
    frame = pd.DataFrame({"a": given})
    before = frame.copy()
    known = taken(frame)
    assert known is not None
    assert str(known[0]["a"].dtype) == dtype
    assert known[0].index.equals(given.index)
    missing = pd.isna(known[0]["a"])
    assert missing.tolist() == [pd.isna(value) for value in values]
    expected = [pd.Timestamp(value) if dtype[0] == "d" else value for value in values]
    assert [each for each in known[0]["a"] if not pd.isna(each)] == [
        each for each in expected if not pd.isna(each)
    ]
    pd.testing.assert_frame_equal(frame, before)
