"""Copies of continuous columns: what counts as one, and what a copy says of its original."""

from __future__ import annotations

import json
import math
from dataclasses import replace
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


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("change", "slope"),
    [
        (np.radians, math.pi / 180),
        (lambda a: a / 3, 1 / 3),
        (lambda a: (2 * a).astype(np.float32), 2.0),
        (lambda a: (a - a.mean()) / a.std(), None),
        (lambda a: a.max() - a, -1.0),
    ],
    ids=["radians", "a third", "single precision", "z-scores", "from the largest"],
)
def test_copies_of_columns_around_zero(seed: int, change: Any, slope: float | None) -> None:
    a = np.random.default_rng(100 + seed).normal(size=ROWS)
    with pytest.warns(UserWarning, match="column 'c' is a copy of 'a'") as found:
        columns = look({"a": a, "b": Y, "c": change(a)})
    (copy,) = columns.copies
    assert copy.slope == pytest.approx(1 / a.std() if slope is None else slope, rel=1e-8)
    if slope is not None and slope > 0:
        assert copy.offset == 0
        assert "times a)" in str(found[0].message)
        assert "+" not in str(found[0].message)
    rows = pd.DataFrame({"a": a, "c": change(a)})
    assert (log_density([rows[:1], rows[1:]], [copy]) == 0).all()


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


@pytest.mark.parametrize("names", [("km", "m"), ("m", "km"), ("a", "km", "m", "z")])
def test_copies_beside_bounds(names: tuple[str, ...]) -> None:
    km = np.exp(X)
    values = {"km": km, "m": 1000 * km, "a": Y, "z": km / 7}
    with pytest.warns(UserWarning, match="is a copy of 'km'") as found:
        columns = look({name: values[name] for name in names}, kinds={"km": (0, None)})
    assert len(found) == len(columns.copies) == 1 + ("z" in names)
    assert {copy.of for copy in columns.copies} == {"km"}
    assert next(each for each in columns.features if each.name == "km").low == 0
    both: Any = {"km": (0, None), "m": (0, None)}
    with pytest.warns(UserWarning, match="column 'm' is a copy of 'km'"):
        assert len(look({"km": km, "m": 1000 * km}, kinds=both).copies) == 1


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
        (copy,) = survey(source, missing="marginalise").copies
        assert replace(copy, size=0.0) == Copy("c", "float64", "a", 1.8, 32.0)
        assert copy.size == pytest.approx(2 * (32 + 1.8 * np.nanmax(table["a"])), rel=0.1)


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
    with pytest.warns(UserWarning, match="is not") as found:
        np.testing.assert_allclose(log_density([rows[:3], rows[3:]], copies), rows["found"])
    (warning,) = found
    assert "column 'c' is not 4 times a in 2 row(s), by at most 0.1: " in str(warning.message)


def test_rounded_numbers_are_not_scored_without_a_word() -> None:
    copy = Copy("f", "float64", "c", 1.8, 32.0)
    rows = pd.DataFrame({"c": X, "f": 32 + 1.8 * X})
    assert (log_density([rows], [copy]) == 0).all()
    with pytest.warns(UserWarning, match=r"'f' is not 32 \+ 1.8 times c in .* give all digits"):
        assert np.isneginf(log_density([rows.round(6)], [copy])).mean() > 0.5


def test_whole_numbers_with_gaps_declared_continuous() -> None:
    whole: Any = pd.Series(np.arange(ROWS) ** 2).mask(np.arange(ROWS) % 9 == 0).astype("Int64")
    rows = pd.DataFrame({"a": whole, "c": np.arange(ROWS) ** 2 / 3})
    with pytest.warns(UserWarning, match="column 'c' is a copy of 'a'"):
        columns = look(dict(rows), kinds={"a": "continuous"}, missing="marginalise")
    expected = np.where(whole.isna(), math.log(3), 0)
    np.testing.assert_allclose(log_density([rows], columns.copies), expected)


def test_a_copy_in_single_precision_stands_for_the_original() -> None:
    copies = [Copy("b", "float32", "a", 3.0, 0.0), Copy("c", "float64", "a", 0.7, 0.0)]
    rows = pd.DataFrame({"a": np.nan, "b": (3 * X).astype(np.float32), "c": 0.7 * X})
    np.testing.assert_allclose(log_density([rows], copies), -math.log(3))


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
