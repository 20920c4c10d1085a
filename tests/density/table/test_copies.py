"""Copies of continuous columns: what counts as one, and what a copy says of its original."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density.table import Columns, Frame, Parquet, survey
from invflow.density.table.copies import Copy, find, log_density

ROWS = 200
X: Any = np.random.default_rng(0).normal(5, 2, ROWS)
Y: Any = np.random.default_rng(1).normal(5, 2, ROWS)


def look(values: dict[str, Any], **options: Any) -> Columns:
    return survey(Frame(pd.DataFrame(values)), **options)


@pytest.mark.parametrize(
    ("slope", "offset"),
    [(1.0, 0.0), (1.8, 32.0), (-3.5, 2.0), (1e-12, 0.0), (1 / 3, 1e9), (math.pi, -math.e)],
)
def test_slope_and_offset_are_found(slope: float, offset: float) -> None:
    with pytest.warns(UserWarning, match="column 'c' is a copy of 'a'"):
        columns = look({"a": X, "b": Y, "c": offset + slope * X})
    (copy,) = columns.copies
    assert (copy.name, copy.of, columns.originals) == ("c", "a", [0])
    assert [column.name for column in columns.features] == ["a", "b"]
    assert copy.slope == pytest.approx(slope, rel=1e-5 if offset == 1e9 else 1e-12)
    assert copy.offset == pytest.approx(offset, rel=1e-12, abs=1e-12)


def test_plain_numbers_are_found_as_such() -> None:
    with pytest.warns(UserWarning, match=r"\(32 \+ 1.8 times a\)"):
        (copy,) = look({"a": X, "c": 32 + 1.8 * X}).copies
    assert (copy.slope, copy.offset) == (1.8, 32.0)


@pytest.mark.parametrize("noise", [1e-12, 1e-6])
def test_more_than_rounding_is_no_copy(noise: float) -> None:
    with pytest.warns(UserWarning, match="'a' and 'c' have the correlation 1"):
        columns = look({"a": X, "c": 2 * X + noise * Y})
    assert not columns.copies
    assert len(columns.features) == 2


def test_a_power_within_bounds_is_no_copy() -> None:
    kinds: Any = {"a": (0, None), "c": (0, None)}
    with pytest.warns(UserWarning, match="'a' and 'c' have the correlation 1"):
        assert not look({"a": np.exp(X), "c": np.exp(2 * X)}, kinds=kinds).copies


@pytest.mark.filterwarnings("ignore:column '[cd]' is a copy")
def test_single_precision_and_copies_of_copies() -> None:
    columns = look({"a": X, "b": Y, "c": 2 * X.astype(np.float32), "d": -X})
    assert [(copy.name, copy.of, copy.dtype) for copy in columns.copies] == [
        ("c", "a", "float32"),
        ("d", "a", "float64"),
    ]
    # The first is only nearly the original of the others.
    with pytest.warns(UserWarning, match="'a' and 'c' have the correlation 1"):
        columns = look({"a": X + 1e-7 * Y, "c": X, "d": -X})
    assert [(copy.name, copy.of) for copy in columns.copies] == [("d", "c")]


@pytest.mark.filterwarnings("ignore:column 'c' is a copy")
def test_gaps_and_blocks_hide_nothing(tmp_path: Any) -> None:
    table = pd.DataFrame({"a": X, "b": Y, "c": 32 + 1.8 * X})
    table.iloc[:20, 0] = table.iloc[10:40, 2] = np.nan
    table.to_parquet(tmp_path / "t.parquet", row_group_size=17)
    for source in (Frame(table), Parquet(tmp_path / "t.parquet")):
        assert survey(source, missing="marginalise").copies == (
            Copy("c", "float64", "a", 1.8, 32.0),
        )


def test_whole_numbers_are_not_judged_by_a_few_rows() -> None:
    whole = np.arange(ROWS) % 7
    with pytest.warns(UserWarning, match="columns 'n' and 'm' have the correlation 1"):
        assert not look({"n": whole, "m": whole, "a": X}).copies


@pytest.mark.filterwarnings("ignore:column 'c' is a copy")
def test_other_equations_are_still_seen() -> None:
    with pytest.warns(UserWarning, match="columns 'a', 'b', 's' satisfy a linear equation"):
        look({"a": X, "b": Y, "s": X + Y, "c": 2 * X})


def test_values_in_and_out() -> None:
    copy = Copy("f", "float32", "c", 1.8, 32.0)
    series = pd.Series(copy.values(np.array([10.0, np.nan])))
    assert series.dtype == np.float32
    np.testing.assert_allclose(series, [50.0, np.nan])
    np.testing.assert_allclose(copy.originals(series), [10.0, np.nan])


def test_density_by_hand() -> None:
    copies = [Copy("b", "float64", "a", -2.0, 1.0), Copy("c", "float64", "a", 4.0, 0.0)]
    nan = math.nan
    rows = pd.DataFrame(
        [
            (0.5, 0.0, 2.0, 0.0),
            (0.5, 0.0, 2.1, -math.inf),
            (0.5, nan, 2.0, 0.0),
            (nan, 0.0, 2.0, -math.log(2)),
            (nan, 0.0, 2.1, -math.inf),
            (nan, nan, 2.0, -math.log(4)),
            (nan, nan, nan, 0.0),
        ],
        columns=["a", "b", "c", "found"],
    )
    np.testing.assert_allclose(log_density(rows, copies), rows["found"])


def test_columns_in_files() -> None:
    with pytest.warns(UserWarning, match="is a copy"):
        columns = look({"a": X, "c": 2 * X})
    content = json.loads(json.dumps(columns.to_dict()))
    assert Columns.from_dict(content) == columns
    for change, message in [
        ({"slope": 0.0}, "column 'c' must have a slope other than zero"),
        ({"offset": math.inf}, "column 'c' must have a slope other than zero, and numbers"),
        ({"dtype": 3}, "dtype must be a string, got 3"),
        ({"of": "b"}, "copies must be of continuous features"),
        ({"name": "a"}, "the names differ"),
    ]:
        changed = {**content, "copies": [content["copies"][0] | change]}
        with pytest.raises(ValueError, match=message):
            Columns.from_dict(changed)


def test_no_pairs_no_passes() -> None:
    class Unread:
        names, blocks, schema = ("a",), (3,), None

        def block(self, number: int) -> Any:
            raise AssertionError

    assert find(Unread(), []) == []
