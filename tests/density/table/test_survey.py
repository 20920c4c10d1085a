"""What is found in the columns of a table, and what is refused."""

from __future__ import annotations

import datetime
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density.table import Columns, Frame, Parquet, arrays, codes, dates, survey
from invflow.density.table.column import Column
from invflow.density.table.kinds import check_kinds
from invflow.density.table.looks.feature import Feature

COUNT = 200
NUMBERS: Any = np.random.default_rng(0).normal(5, 2, (COUNT, 3))
INF, NAN = math.inf, math.nan


def look(values: Mapping[str, Any], **options: Any) -> Columns:
    return survey(Frame(pd.DataFrame(dict(values))), **options)


def column(values: Any, **options: Any) -> Column:
    return look({"a": values}, **options).features[0]


@pytest.mark.parametrize(
    ("values", "kind", "dtype"),
    [
        ([1.5, 2.0, 4.0], "continuous", "float64"),
        ([1.0, 2.0, 4.0], "integer", "float64"),
        ([1, 2, 4], "integer", "int64"),
        ([True, False, True], "categorical", "bool"),
        (pd.array([1, 2, 4], dtype="Int64"), "integer", "Int64"),
        (pd.array([1.5, 2, 4], dtype="Float64"), "continuous", "Float64"),
        (pd.array([True, False, True], dtype="boolean"), "categorical", "boolean"),
        (["u", "v", "u"], "categorical", "str"),
        (pd.Series(["u", "v"], dtype=object), "categorical", "object"),
        (pd.Categorical([1, 2, 1]), "categorical", "category"),
        (pd.Categorical([1, 2, 1], ordered=True), "ordinal", "category"),
        (np.arange(40) / 4, "grid", "float64"),
        (3 * np.arange(40), "grid", "int64"),
        (pd.to_datetime(["2020-01-01", "2021-01-01"]), "date", "datetime64[us]"),
        (pd.to_timedelta([1, 2], "s").astype("timedelta64[s]"), "date", "timedelta64[s]"),
        ([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)], "date", "date"),
        (np.array([1.5, 2, 4], dtype=np.float32), "continuous", "float32"),
        (np.array([1, 2, 255], dtype=np.uint8), "integer", "uint8"),
        (pd.Series([1, 2.5, 4], dtype=object), "continuous", "object"),
        ([1e20, 2e20, 4e20], "continuous", "float64"),
    ],
)
def test_kinds_are_found(values: Any, kind: str, dtype: str) -> None:
    found = column(values)
    assert (found.kind, found.dtype) == (kind, dtype)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "float64", object])
def test_gaps_of_every_type(dtype: Any) -> None:
    values = pd.Series([1, 0, None, 1, None], dtype=dtype)
    with pytest.raises(ValueError, match=r"column 'a' has 2 missing value\(s\) \(NaN\)"):
        column(values)
    columns = look({"a": values}, missing="marginalise")
    assert columns.missing
    column_ = columns.features[0]
    if dtype == "boolean":
        assert (column_.kind, column_.counts) == ("categorical", (1, 2))
    else:
        assert column_.kind == "integer"
        assert column_.location == pytest.approx(2 / 3 + 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5], r"the table has 1 row\(s\) \(n_samples=1\); a minimum of 2"),
        ([], r"the table has 0 row\(s\)"),
        ([NAN, NAN, NAN], "column 'a' has only missing values"),
        ([1.5, INF, 2.0], "column 'a' has inf in row 1; values must be finite"),
        ([1.5, 2.0, -INF], "column 'a' has -inf in row 2"),
        ([f"id {i}" for i in range(30)], "'a' has 30 different values, such as 'id 0', in 30 rows"),
        (
            pd.period_range("2020-01", periods=30, freq="M"),
            r"make it dates, such as with .dt.to_ti",
        ),
        ([2**53 + 1, 2**54 + 1, 2**60 + 1], r"'a' has whole numbers beyond 2\*\*52, as ids have"),
        (
            pd.Series([1.5, "x"], dtype=object),
            "column 'a' has values that are not numbers, such as 'x'",
        ),
        (pd.Series([1.5, [1]], dtype=object), r"such as \[1\]"),
        (
            pd.to_datetime(["2200-01-01 00:00:00.5", "2300-01-01 00:00:00.0"]),
            "column 'a' has times too far from 1970 for their precision; round them to seconds",
        ),
        ([1 + 1j, 2], "column 'a' is complex. Complex data not supported"),
        ([1e9, 1e9 + 1e-6, 1e9 + 2e-6], "column 'a' hardly varies, from 1000000000.0 to"),
        ([1e200, 2e200, 3e200], r"column 'a' has values up to 3e\+200; use a larger unit"),
        ([1e-300, -3e-300, 2e-300], "column 'a' has values of at most 3e-300; use a smaller unit"),
        # The same float, or beyond any integer of NumPy.
        ([2**60, 2**60 + 1, 2**60 + 3], r"'a' has whole numbers beyond 2\*\*52, as ids have"),
        (pd.Series([10**30, 10**29 + 1, 7], dtype=object), r"whole numbers beyond 2\*\*52"),
        (pd.Series([[1.5], [2.5]], dtype=object), r"are not numbers, such as \[1.5\]"),
    ],
)
def test_columns_without_a_density(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        column(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [[1], {"u": 1}])
def test_categories_that_cannot_be_compared(value: Any) -> None:
    values = pd.Series([value, value], dtype=object)
    with pytest.raises(ValueError, match=r"column 'a' has values that cannot be compared: make"):
        column(values, kinds={"a": "categorical"})


@pytest.mark.parametrize(
    "values", [[1.5, 2.5, 7.125], ["u", "v", "u"], [datetime.date(2024, 1, i) for i in (1, 9)]]
)
def test_gaps_before_the_first_value_count(values: Any) -> None:
    """A block of objects that are all missing does not tell what the column holds."""
    feature = Feature("a", None)
    feature.add(pd.Series([None] * 5, dtype=object), 0)
    feature.add(pd.Series(values * 9, dtype=object), 5)
    with pytest.raises(ValueError, match=r"column 'a' has 5 missing value\(s\)"):
        feature.columns("refuse")
    assert feature.columns("learn")[0].gap_of == "a"


@pytest.mark.parametrize("value", ["x", True, 2.5, 7, -3])
def test_constant_columns_are_categories_of_one_level(value: Any) -> None:
    with pytest.warns(UserWarning, match=rf"column 'a' is constant \({value!r}\)"):
        found = column([value] * 3)
    assert (found.kind, found.categories, found.counts) == ("categorical", (value,), (3,))
    assert type(found.categories[0]) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2020-01-02 03:04:05"),
        pd.Timestamp("2020-01-02 03:04:05.000006", tz="Europe/Berlin"),
        pd.Timedelta("3h"),
        datetime.date(2020, 1, 2),
    ],
)
def test_constant_dates_are_categories_of_one_level(value: Any) -> None:
    series = pd.Series([value, None, value])
    with pytest.warns(UserWarning, match=rf"column 'a' is constant \(.*{str(value)[-5:]}.*\)"):
        found = column(series, missing="marginalise")
    assert (found.kind, found.counts, found.dtype) == ("categorical", (2,), dates.dtype_of(series))
    assert Column.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(ValueError, match="column 'a' must have ticks as categories of dates"):
        Column.from_dict({**found.to_dict(), "categories": ["today"]})
    np.testing.assert_array_equal(codes.codes(series, found), [0, math.nan, 0])
    again = pd.Series(codes.values(np.array([0, math.nan, 0]), found))
    pd.testing.assert_series_equal(again, series)
    other = pd.Series([value + pd.Timedelta("1D")])
    assert codes.codes(other, found).tolist() == [1.0]
    assert codes.are_between(other, found).all()


def test_a_few_numbers_off_every_grid_are_ordered_levels(tmp_path: Path) -> None:
    levels = np.array([-0.1234567891, 0.9876543219, math.pi, 7.000000123], np.float32)
    found = column(np.tile(levels[[2, 0, 3, 1]], 10))
    assert (found.kind, found.dtype, found.counts) == ("ordinal", "float32", (10,) * 4)
    assert found.categories == tuple(levels.tolist())
    assert column(np.tile(levels, 9)).kind == "continuous"
    assert column(np.tile(levels, 10), kinds={"a": "continuous"}).kind == "continuous"
    # Of several blocks, the first of which does not have all of them.
    table = pd.DataFrame({"a": np.repeat(levels, 10)})
    table.to_parquet(tmp_path / "a.parquet", row_group_size=20)
    assert survey(Parquet(tmp_path / "a.parquet")).features[0] == found


def test_numbers_far_from_zero_keep_their_spread() -> None:
    found = column(NUMBERS[:, 0] + 1e9)
    assert found.scale == pytest.approx(NUMBERS[:, 0].std(), rel=1e-6)


def test_integers_have_the_moments_of_what_is_dequantised() -> None:
    values = np.array([3, 5, 9, 9])
    found = column(values)
    assert found.location == pytest.approx(values.mean() + 0.5)
    assert found.scale == pytest.approx(math.sqrt(values.var() + 1 / 12))
    assert (found.smallest, found.largest) == (3.0, 9.0)


@pytest.mark.parametrize(
    ("bounds", "expected", "transformed"),
    [
        ((0, 20), (0.0, 20.0), lambda x: np.log(x / (20 - x))),
        ((-3, None), (-3.0, None), lambda x: np.log(x + 3)),
        ((None, 20), (None, 20.0), lambda x: -np.log(20 - x)),
        ((0, INF), (0.0, None), np.log),
        ((-INF, 20.0), (None, 20.0), lambda x: -np.log(20 - x)),
        ((None, None), (None, None), lambda x: x),
    ],
)
def test_bounds(bounds: Any, expected: Any, transformed: Any) -> None:
    values = np.abs(NUMBERS[:, 0]) + 0.1
    found = column(values, kinds={"a": bounds})
    assert (found.kind, found.low, found.high) == ("continuous", *expected)
    assert found.location == pytest.approx(transformed(values).mean())
    assert found.scale == pytest.approx(transformed(values).std())


@pytest.mark.parametrize("bounds", [(0, 0.5), (0.25, 1), (None, 0.5), (0.25, None)])
def test_values_on_a_bound_are_refused_by_name(bounds: Any) -> None:
    with pytest.raises(ValueError, match=r"'a' has values outside its bounds .* or on a bound"):
        column([0.25, 0.5, 0.3], kinds={"a": bounds})


@pytest.mark.parametrize(
    ("kinds", "error", "message"),
    [
        (["integer"], TypeError, "kinds must be a mapping"),
        ({"c": "integer"}, ValueError, "kinds names the column 'c', .* its columns are 'a', 'b'"),
        ({2: "integer"}, ValueError, "kinds names the column 2"),
        ({-1: "integer"}, ValueError, "kinds names the column -1"),
        ({True: "integer"}, ValueError, "kinds names the column True"),
        ({"a": "real"}, ValueError, r"kinds must declare 'a' as continuous, .* got 'real'"),
        ({"a": 3}, ValueError, "kinds must declare 'a' as"),
        ({"a": (0, 1, 2)}, ValueError, "kinds must declare 'a' as"),
        ({"a": ("x", 2)}, ValueError, "kinds must declare 'a' as"),
        ({"a": (1, 1)}, ValueError, r"bounds of 'a' must be in ascending order, got \(1, 1\)"),
        ({"a": (NAN, 1)}, ValueError, "bounds of 'a' must be in ascending order"),
        ({"a": (INF, None)}, ValueError, "bounds of 'a' must be in ascending order"),
        ({"a": ("real", 0, 1)}, ValueError, "kinds must declare 'a' as"),
        (
            {"b": ("integer", 0.5, None)},
            ValueError,
            "bounds of the integer column 'b' must be whole numbers, got",
        ),
        (
            {"b": ("integer", 2, None)},
            ValueError,
            r"outside its bounds \(lower 2\); ",
        ),
        (
            {"b": ("integer", None, 1)},
            ValueError,
            r"outside its bounds \(upper 1\); ",
        ),
        (
            {"b": ("categorical", 0, 1)},
            ValueError,
            "kinds: the categorical column 'b' cannot have bounds, got",
        ),
        ({"a": "integer"}, ValueError, "column 'a' has 0.5 in row 0 but is declared integer"),
        ({"a": ("ordinal", ["x"])}, ValueError, "levels of 'a' must be two or more different"),
        ({"a": ("ordinal", [0.5, 2])}, ValueError, "'a' has the value 1.5, which is not among"),
        ({"a": ("grid", 0)}, ValueError, "the step of 'a' must be a positive number"),
        ({"a": ("grid", "x")}, ValueError, "kinds must declare 'a' as"),
        ({"a": ("grid", 2)}, ValueError, "'a' has 1.5 in row 1 but is declared a grid of step 2"),
    ],
)
def test_bad_kinds(kinds: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        look({"a": [0.5, 1.5], "b": [1, 2]}, kinds=kinds)


def test_categories_declared_to_be_numbers() -> None:
    message = "column 'a' has the dtype category: .*, or leave it out"
    for values, advice in (([2, 4], ", or convert it to int64$"), (["u", "v"], "$")):
        with pytest.raises(ValueError, match=message + advice):
            column(pd.Categorical(values), kinds={"a": "continuous"})


def test_kinds_are_said_as_they_were_declared() -> None:
    kinds: Any = {
        "a": ("grid", 0.5),
        "b": ("grid", 0.1, 0.0, None),
        "c": ("ordinal", ("x", "y")),
        "d": "integer",
        "e": ("integer", 0.0, None),
        "f": ("continuous", 0.0, 1.0),
    }
    found = check_kinds(kinds, list(kinds))
    assert {name: kind.said for name, kind in found.items()} == kinds
    again = json.loads(json.dumps(kinds))
    assert check_kinds(again, list(kinds)) == found


@pytest.mark.parametrize(
    ("step", "values"), [(0.5, [1.0, 2.5]), (0.1, [-0.3, 1.2]), (2.0, [1.0, 7.0]), (0.01, [2, 3])]
)
def test_a_declared_step(step: float, values: Any) -> None:
    found = column(values, kinds={"a": ("grid", step, None, 9)})
    assert (found.kind, found.step, found.high) == ("grid", step, 9)
    assert found.grid is not None
    places = found.grid.places(np.array(values, float))
    np.testing.assert_array_equal(found.grid.values(places), values)


def test_the_order_of_levels() -> None:
    sizes = ["m", "s", "l", "m"]
    found = column(sizes, kinds={"a": ("ordinal", ["s", "m", "l", "xl"])})
    assert (found.categories, found.counts) == (("s", "m", "l", "xl"), (1, 2, 1, 0))
    assert column(sizes, kinds={"a": "ordinal"}).categories == ("l", "m", "s")
    assert column([3, 1, 2], kinds={"a": ("ordinal", ["1", "2", "3"])}).categories == (1, 2, 3)


def test_bounds_are_found_where_values_pile_up() -> None:
    count = np.random.default_rng(0).poisson(1, COUNT)
    found = column(count)
    assert (found.low, found.high) == (0, None)
    assert found.beyond == pytest.approx(1 / (COUNT + 1))
    capped = column(np.minimum(count, 2) + 5)
    assert (capped.low, capped.high) == (5, 7)
    spread = column(np.round(NUMBERS[:, 0] * 100) + 3)
    assert (spread.low, spread.high, spread.beyond) == (None, None, 0)
    assert column(count, kinds={"a": "integer"}).low == 0


def test_zero_is_a_bound_of_numbers_that_come_near_it() -> None:
    prices = np.round(np.exp(NUMBERS[:, 0] / 1.5) + 0.05, 2)
    found = column(prices)
    assert (found.kind, found.low, found.high, found.cells[0]) == ("grid", 0.0, None, 0.0)
    assert found.beyond == pytest.approx(1 / (COUNT + 1))
    assert column(np.round(prices + 1000, 2)).low is None
    assert column(np.round(prices - prices.min() - 0.01, 2)).low is None
    # The smallest is up to one standard deviation above zero: fares, but not kelvin.
    shape = np.round(100 * np.exp(NUMBERS[:, 0]) / 5, 2)
    shape -= shape.min()
    for times, low in [(0.98, 0.0), (1.02, None)]:
        assert column(np.round(shape + times * shape.std(), 2)).low == low
    assert column(np.round(280 + 8 * NUMBERS[:, 0], 1)).low is None
    assert column(prices[:20]).low == 0.0
    assert column(prices[:19]).low is None
    # The first number of the grid from zero on, not the last one below it.
    odd = column(np.arange(COUNT) * 3.0 + 2, kinds={"a": ("grid", 3)})
    assert (odd.low, odd.origin, odd.cells[0]) == (0.0, 2.0, 0.0)
    assert odd.numbers(np.array([odd.cells[0]])).tolist() == [2.0]


def test_kinds_by_number_and_against_the_look() -> None:
    values = {"a": [0.5, 1.5], "b": [1, 2]}
    columns = look(values, kinds={np.int64(1): "continuous"})
    assert [each.kind for each in columns.features] == ["continuous", "continuous"]
    with pytest.raises(ValueError, match=r"declared integer but has values beyond 2\*\*52"):
        column([2**52, 2**52 + 2], kinds={"a": "integer"})


def test_context_columns() -> None:
    values = {
        "x": [0.5, 1.5, 2.5, 1.0],
        "age": [30, 40, 50, 60],
        "sex": ["f", "m", "f", "f"],
        "smokes": [True, False, False, True],
        "code": [3, 1, 3, 2],
    }
    columns = look(
        values, conditional_on=["sex", 1, "smokes", "sex", "code"], kinds={4: "categorical"}
    )
    assert columns.names == tuple(values)
    assert [each.name for each in columns.features] == ["x"]
    found = {each.name: each for each in columns.context}
    assert found["sex"].categories == ("f", "m")
    assert found["smokes"].categories == (False, True)
    assert found["code"].categories == (1, 2, 3)
    assert (found["age"].kind, found["age"].location) == ("continuous", 45.0)
    assert columns.context_size == 2 + 1 + 2 + 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"conditional_on": ["a", "b"]}, ValueError, "conditional_on names all columns"),
        ({"conditional_on": "c"}, ValueError, "conditional_on names the column 'c'"),
        ({"conditional_on": [7]}, ValueError, "conditional_on names the column 7"),
        ({"conditional_on": None}, TypeError, "conditional_on must name columns, got None"),
        (
            {"conditional_on": "b", "kinds": {"b": (0, 9)}},
            ValueError,
            "'b' is in conditional_on and cannot",
        ),
        (
            {"missing": "drop"},
            ValueError,
            "missing must be one of 'learn', 'marginalise', 'refuse'",
        ),
    ],
)
def test_bad_options(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        look({"a": [0.5, 1.5, 2.5], "b": [1, 2, 4]}, **options)


def test_context_has_no_gaps() -> None:
    with pytest.raises(ValueError, match="'b', which the density is conditional on, has missing"):
        look({"a": [0.5, 1.5], "b": ["x", None]}, conditional_on=["b"], missing="marginalise")


def test_context_of_too_large_numbers() -> None:
    with pytest.raises(ValueError, match=r"column 'b' has values up to 2e\+200"):
        look({"a": [0.5, 1.5], "b": [1e200, -2e200]}, conditional_on=["b"])


def test_constant_context_is_no_harm() -> None:
    columns = look({"a": [0.5, 1.5], "b": [3.0, 3.0]}, conditional_on=["b"])
    assert (columns.context[0].location, columns.context[0].scale) == (3.0, 1.0)


def test_a_context_may_be_a_copy() -> None:
    values = {"a": NUMBERS[:, 0], "b": NUMBERS[:, 1], "c": 2 - 3.5 * NUMBERS[:, 0]}
    columns = look(values, conditional_on=["c"])
    assert len(columns.features) == 2
    assert not columns.copies


def test_copied_integers_and_near_copies_are_warned_of() -> None:
    whole = np.round(NUMBERS[:, 0])
    with pytest.warns(UserWarning, match="columns 'a' and 'b' have the correlation 1; if one"):
        look({"a": whole, "b": whole})
    near = NUMBERS[:, 0] + 1e-3 * NUMBERS[:, 1]
    with pytest.warns(UserWarning, match=r"columns 'a' and 'b' have the correlation 0\.9999"):
        look({"a": NUMBERS[:, 0], "b": near})


def test_linear_dependence_is_warned_of() -> None:
    values = {"a": NUMBERS[:, 0], "n": NUMBERS[:, 2], "b": NUMBERS[:, 1]}
    with pytest.warns(UserWarning, match="columns 'a', 'b', 'c' satisfy a linear equation"):
        look({**values, "c": NUMBERS[:, 0] - 2 * NUMBERS[:, 1]})


def test_suspect_columns_are_warned_of() -> None:
    common = np.where(np.arange(COUNT) < COUNT / 2, 0.5, NUMBERS[:, 0])
    with pytest.warns(UserWarning, match=r"column 'a' is treated as continuous, but 50 % .* 0\.5"):
        column(common)
    with pytest.warns(UserWarning, match="column 'a' .* only 25 distinct values"):
        column(np.tile(np.arange(25) / 3, 10))


@pytest.mark.parametrize("kind", [None, ("integer", 0, None)])
@pytest.mark.parametrize("dtype", [np.int64, float])
def test_nearly_constant_integers_are_warned_of(dtype: Any, kind: Any) -> None:
    rare = np.zeros(400, dtype)
    rare[-3:] = 1
    message = "column 'a' is nearly constant: 397 of its 400 values are 0"
    with pytest.warns(UserWarning, match=message):
        column(rare, **({} if kind is None else {"kinds": {"a": kind}}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rare[-5:] = 1
        column(rare)
        column(rare[-50:])


def test_the_whole_table_is_nearly_constant_or_not(tmp_path: Path) -> None:
    values = np.repeat([0, 1], [200, 600])
    pd.DataFrame({"a": values}).to_parquet(tmp_path / "a.parquet", row_group_size=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        survey(Parquet(tmp_path / "a.parquet"))
    values[:] = 0
    values[799] = 1
    pd.DataFrame({"a": values}).to_parquet(tmp_path / "a.parquet", row_group_size=200)
    with pytest.warns(UserWarning, match="799 of its 800 values are 0"):
        survey(Parquet(tmp_path / "a.parquet"))


def test_an_ordinary_table_raises_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look({"a": NUMBERS[:, 0], "b": np.arange(COUNT) % 2, "c": np.exp(NUMBERS[:, 1])})
        # Measured to one digit.
        look({"a": np.arange(COUNT) % 30 / 10 + 0.1})


def test_columns_through_json() -> None:
    columns = look(
        {"a": [0.5, 1.5, 2.5], "b": [1, 2, 4], "c": ["x", "y", "x"], "d": [True, True, False]},
        kinds={"a": (0, None)},
        conditional_on=["c", "d"],
        missing="marginalise",
    )
    assert Columns.from_dict(json.loads(json.dumps(columns.to_dict()))) == columns


@pytest.mark.parametrize("content", [{}, {"names": ["a"], "features": 3}, {"features": [{}]}])
def test_columns_from_something_else(content: Any) -> None:
    with pytest.raises(ValueError, match="not the columns of a table"):
        Columns.from_dict(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": 3}, "dtype must be a string, got 3"),
        ({"scale": 0.0}, "column 'a' must have a positive scale, and bounds in ascending order"),
        ({"low": 3.0, "high": 1.0}, "column 'a' must have a positive scale, and bounds"),
        ({"categories": ["x"]}, "column 'a' must have distinct categories, or none"),
        ({"kind": "grid"}, "column 'a' must have a positive step, or none"),
        ({"kind": "grid", "step": -1.0}, "column 'a' must have a positive step, or none"),
        ({"beyond": 2.0}, "column 'a' must have a probability as beyond"),
        ({"unit": "h"}, "column 'a' must have a unit of dates, or none"),
        (
            {"kind": "categorical", "categories": ["x", "y"], "counts": [1]},
            "column 'a' must have a count of each category",
        ),
        ({"name": []}, r"not the label of a column: \[\]"),
        ({"low": "x"}, "low must be a number"),
        ({"location": math.inf}, "location must be finite, got inf"),
    ],
)
def test_columns_that_cannot_be(change: dict[str, Any], message: str) -> None:
    content = look({"a": [0.5, 1.5], "b": [0.5, 2.5]}).to_dict()
    content["features"][0] |= change
    with pytest.raises(ValueError, match=f"not the columns of a table: {message}"):
        Columns.from_dict(content)


def test_blocks_are_looked_at_as_one(tmp_path: Path) -> None:
    frame = pd.DataFrame(NUMBERS, columns=["a", "b", "c"]).assign(d=np.arange(COUNT))
    frame.loc[3, "a"] = np.nan
    frame["e"] = np.where(frame.index < 150, "early", "late")
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=17)
    options: Any = {
        "conditional_on": ["e", "c"],
        "missing": "marginalise",
        "kinds": {"b": (-20, None)},
    }
    streamed = survey(Parquet(tmp_path / "t.parquet"), **options)
    at_once = survey(Frame(frame), **options)
    for one, other in zip(
        streamed.features + streamed.context, at_once.features + at_once.context, strict=True
    ):
        assert one.location == pytest.approx(other.location, rel=1e-12)
        assert one.scale == pytest.approx(other.scale, rel=1e-12)
        assert (one.name, one.kind, one.dtype, one.categories, one.smallest, one.largest) == (
            other.name,
            other.kind,
            other.dtype,
            other.categories,
            other.smallest,
            other.largest,
        )
    assert streamed.rows == at_once.rows == COUNT


def test_a_whole_first_block_decides_nothing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.5], "b": [1.0, 2.0, 3.0, 4.0]})
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=2)
    columns = survey(Parquet(tmp_path / "t.parquet"))
    assert [each.kind for each in columns.features] == ["continuous", "integer"]


def test_copies_are_seen_through_gaps() -> None:
    values = np.random.default_rng(0).normal(size=(COUNT, 12))
    values[:, 11] = 3 * values[:, 0]
    values[np.random.default_rng(1).random(values.shape) < 0.35] = np.nan
    assert (~np.isnan(values).any(1)).sum() < 10
    with pytest.warns(UserWarning, match=r"'x11' is a copy of 'x0' \(3 times x0\)"):
        look({f"x{i}": column for i, column in enumerate(values.T)}, missing="marginalise")


def test_few_rows_are_no_reason_to_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look({"a": [0.5, 0.7, 0.1], "b": [0.2, 0.9, 0.4]})


@pytest.mark.parametrize(
    ("bounds", "transformed"),
    [
        ((0, None), np.log),
        ((None, 9), lambda t: -np.log(10 - t)),
        ((0, 9), lambda t: np.log(t) - np.log(10 - t)),
    ],
)
def test_bounds_of_integers(bounds: Any, transformed: Any) -> None:
    values = np.arange(COUNT) % 10
    found = column(values, kinds={"a": ("integer", *bounds)})
    assert (found.kind, found.low, found.high) == ("integer", *bounds)
    seen = transformed(values + 0.5)
    assert found.location == pytest.approx(seen.mean())
    assert found.scale == pytest.approx(seen.std())


def test_categories_that_cannot_be_given_back_are_refused() -> None:
    numbers = pd.Series(np.random.default_rng(0).normal(size=50))
    days = pd.to_datetime(["2024-01-01", "2024-01-02"])
    table = pd.DataFrame({"x": numbers, "day": pd.Categorical(days[[0, 1] * 25], ordered=True)})
    with pytest.raises(ValueError, match=r"column 'day' has categories of type Timestamp, such"):
        survey(Frame(table))
    table["day"] = table["day"].cat.rename_categories(str)
    assert survey(Frame(table)).features[1].kind == "ordinal"


@pytest.mark.parametrize("edges", [3, [-9, 0, 9], [-9.5, 0.25, np.inf]], ids=str)
@pytest.mark.parametrize("right", [True, False])
def test_intervals_are_ordered_categories(edges: Any, right: bool) -> None:
    numbers = pd.Series(np.random.default_rng(0).normal(size=50))
    table = pd.DataFrame({"band": pd.cut(numbers, edges, right=right), "x": numbers})
    table.loc[7, "band"] = np.nan
    columns = Columns.from_dict(survey(Frame(table), missing="marginalise").to_dict())
    assert columns.features[0].kind == "ordinal"
    codes = arrays.features(table, columns)
    assert codes[:, 0].tolist()[:7] == table["band"].cat.codes.tolist()[:7]
    again = arrays.frame(codes, table[[]], columns)
    pd.testing.assert_series_equal(again["band"], table["band"])
    given = survey(Frame(table.drop(7)), conditional_on=["band"])
    context = arrays.frame(codes[[0], 1:], table[:1], given)
    assert context["band"].iloc[0] == table["band"].iloc[0]


def test_intervals_of_times_come_back() -> None:
    days = pd.Series(pd.date_range("2024-01-01", periods=50))
    table = pd.DataFrame({"band": pd.cut(days, 4), "x": np.arange(50.0) ** 2})
    columns = survey(Frame(table))
    again = arrays.frame(arrays.features(table, columns), table[[]], columns)
    pd.testing.assert_series_equal(again["band"], table["band"])


def test_dates_in_text_that_are_declared_dates_say_how_to_read_them() -> None:
    table = pd.DataFrame({"d": ["3/4/04", "5/6/04"]})
    with pytest.raises(ValueError, match=r"pandas.to_datetime, or with --dates 'd=FORMAT'"):
        survey(Frame(table), {"d": "date"})


def test_a_few_ages_in_months_do_not_make_a_grid_of_hundredths() -> None:
    ages = np.random.default_rng(0).integers(1, 80, 700).astype(float)
    ages[:7], ages[7:25] = [0.42, 0.67, 0.75, 0.83, 0.92, 0.75, 0.83], ages[7:25] + 0.5
    column = survey(Frame(pd.DataFrame({"age": ages}))).features[0]
    assert (column.kind, column.step) == ("grid", 1.0)
