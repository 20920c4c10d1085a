"""Markers of missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density.table import Frame
from invflow.density.table.files.markers import Unmarked, by_column, is_marker, outlying, without

RANDOM = np.random.default_rng(0)
POSITIVE = RANDOM.gamma(2, 50, 200)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([*POSITIVE, *[-999.0] * 3], ["-999"]),
        ([*POSITIVE, *[-200.0] * 300], ["-200"]),
        ([*POSITIVE, *[9999.0] * 5, *[-99.0] * 5], ["-99", "9999"]),
        ([*RANDOM.normal(size=50), *[1e6] * 4], ["1000000"]),
        ([*RANDOM.normal(size=50), -999.0, -999.0], []),  # too seldom
        ([*POSITIVE, 5000.0], []),  # once
        ([0.0] * 50 + [1.0] * 9 + [9.0] * 5, []),  # too few other values
        ([*range(100), *[99] * 5], []),  # an age
        ([*POSITIVE, *[0.0] * 50], []),  # zeros
        ([*RANDOM.poisson(3, 200), *[20.0] * 3], []),  # a count
        ([], []),
        ([1.0], []),
    ],
)
def test_numbers_far_outside_that_repeat(values: list[float], found: list[str]) -> None:
    assert outlying(np.array(values, dtype=float)) == found


def test_words() -> None:
    for word in ("?", "NA", "n/a", "null", "-", " NaN ", "#N/A"):
        assert is_marker(word)
    for word in ("none", "unknown", "0", "No", "nancy"):
        assert not is_marker(word)


@pytest.mark.parametrize(
    ("values", "markers", "expected", "dtype"),
    [
        ([1, -9, 3], ["-9"], [1, None, 3], "Int64"),
        ([1.5, -9.0, 3.0], ["-9.0"], [1.5, None, 3.0], "float64"),
        (["a", " ?", "NA"], ["?"], ["a", None, "NA"], "str"),
        ([1, 2], ["x"], [1, 2], "int64"),
        ([True, False], ["1"], [True, False], "bool"),
        (np.array([1, 9], dtype=np.uint8), ["9"], [1, None], "UInt8"),
        (pd.array([1, 9], dtype="Int16"), ["9"], [1, None], "Int16"),
        (pd.Categorical(["u", "?"]), ["?"], ["u", None], "category"),
        (pd.to_datetime(["2024-01-01"]), ["2024"], [pd.Timestamp("2024-01-01")], None),
    ],
)
def test_markers_become_missing(
    values: Any, markers: list[str], expected: list[Any], dtype: str | None
) -> None:
    found = without(pd.Series(values), markers)
    assert [None if pd.isna(value) else value for value in found] == expected
    assert dtype is None or str(found.dtype) == dtype


def test_markers_of_single_columns() -> None:
    names = ["a", "b=c", "", "d,e"]
    assert by_column(["-9", "a=0,?", "b=c=1", "d,e=2"], names) == {
        "a": ["-9", "0,?"],
        "b=c": ["-9", "1"],
        "": ["-9"],
        "d,e": ["-9", "2"],
    }


def test_a_source_without_markers() -> None:
    frame = pd.DataFrame({"a": [1, -9, 2], "b": [-9.0, 1.0, 2.0]})
    source = Unmarked(Frame(frame), ["a=-9"])
    assert source.names == ("a", "b")
    assert source.block(0)["a"].isna().tolist() == [False, True, False]
    assert source.block(0)["b"].tolist() == [-9.0, 1.0, 2.0]
