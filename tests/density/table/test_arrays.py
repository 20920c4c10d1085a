"""Tables as numbers at scoring, and draws as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density.table import Columns, Frame, arrays, read, survey, write
from invflow.density.table.levels import categories

TABLE = pd.DataFrame(
    {
        "x": [0.5, 1.5, 2.5, 4.0],
        "n": [3, 1, 2, 2],
        "sex": ["f", "m", "f", "f"],
        "age": [30.0, 40.0, 50.0, 60.0],
    }
)


@pytest.fixture(scope="module")
def columns() -> Columns:
    return survey(Frame(TABLE), conditional_on=["sex", "age"])


def test_context_is_standardised_or_one_hot(columns: Columns) -> None:
    deviations = (TABLE["age"] - 45) / TABLE["age"].std(ddof=0)
    expected = np.column_stack([[1, 0, 1, 1], [0, 1, 0, 0], deviations])
    np.testing.assert_allclose(arrays.context(TABLE, columns), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": [1.0, np.nan, 2, 2]}, r"'n' has a missing value \(NaN\) in row 1"),
        ({"x": [1.0, 2, 2, -np.inf]}, "'x' has -inf in row 3"),
        ({"x": ["1", "2", "3", "4"]}, "'x' has values that are not numbers, such as '1'"),
        (
            {"x": pd.to_datetime(["2020-01-01"] * 4)},
            "'x' has values that are not numbers, such as Timest",
        ),
        ({"x": np.ones(4) * 1j}, "'x' is complex"),
    ],
)
def test_features_that_do_not_suit(columns: Columns, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arrays.features(TABLE.assign(**change), columns)


def test_a_value_between_whole_numbers_is_in_the_cell_of_the_lower(columns: Columns) -> None:
    place = [column.name for column in columns.features].index("n")
    found = arrays.features(TABLE.assign(n=[1.0, 2.5, 2, -0.5]), columns)
    assert found[:, place].tolist() == [1.0, 2.0, 2.0, -1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sex": ["f", "x", "f", "f"]}, "'sex' has the category 'x', which was not seen"),
        ({"sex": ["f", None, "f", "f"]}, "'sex', which the density is .* a missing value in row 1"),
        ({"age": [1, np.nan, 1, 1]}, "'age', which the density is .* a missing value in row 1"),
        ({"age": [1, 1, 1e9, 1]}, r"'age', .* has 1e\+09 in row 2, far outside the values"),
        ({"age": [1, np.inf, 1, 1]}, "'age' has inf in row 1"),
        ({"age": ["a", "b", "c", "d"]}, "'age' has values that are not numbers, such as 'a'"),
    ],
)
def test_context_that_does_not_suit(columns: Columns, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arrays.context(TABLE.assign(**change), columns)


@pytest.mark.parametrize("name", ["x", "age"])
def test_lacking_columns_are_named(columns: Columns, name: str) -> None:
    read = arrays.features if name == "x" else arrays.context
    with pytest.raises(ValueError, match=f"the table does not have the column '{name}'"):
        read(TABLE.drop(columns=name), columns)


@pytest.mark.parametrize("column", [[True, False], [1, 0], [1.0, 0.0], ["True", "x"]])
def test_categories_are_what_json_can_hold(column: Any) -> None:
    for series in (
        pd.Series(column),
        pd.Series(column, dtype=object),
        pd.Series(column, dtype="category"),
    ):
        found = categories(series)
        assert found == column
        assert {type(value) for value in found} <= {bool, int, float, str}


DTYPES = {
    "f64": np.array([0.5, 1.25, 7.0]),
    "f32": np.array([0.5, 1.25, 7.0], dtype=np.float32),
    "F64": pd.array([0.5, 1.25, 7.0], dtype="Float64"),
    "F32": pd.array([0.5, 1.25, 7.0], dtype="Float32"),
    "i64": np.array([1, -4, 7]),
    "u8": np.array([1, 255, 7], dtype=np.uint8),
    "i16": np.array([1, -4, 7], dtype=np.int16),
    "I64": pd.array([1, -4, 7], dtype="Int64"),
    "U8": pd.array([1, 4, 7], dtype="UInt8"),
    "b": np.array([True, False, True]),
    "B": pd.array([True, False, True], dtype="boolean"),
    "whole": np.array([1.0, -4.0, 7.0]),
    "sparse": pd.arrays.SparseArray([0.5, 1.25, 7.0]),
    "cat": pd.Categorical(["u", "v", "u"]),
}


def test_draws_have_the_types_of_the_table() -> None:
    table = pd.DataFrame(DTYPES)
    columns = survey(Frame(table), conditional_on=["cat"])
    values = arrays.features(table, columns)
    back = arrays.frame(values, table, columns)
    pd.testing.assert_frame_equal(back, table)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet"])
def test_draws_are_written_in_the_columns_and_types_of_the_table(
    tmp_path: Path, columns: Columns, name: str
) -> None:
    values = np.array([[0.1, 5.0], [1 / 3, -2.0], [np.pi, 0.0]])
    given = TABLE.iloc[[2, 1, 1]]
    write(arrays.frame(values, given, columns), tmp_path / name)
    back = read(tmp_path / name).block(0)
    assert list(back.columns) == list(TABLE.columns)
    assert back.dtypes.tolist() == TABLE.dtypes.tolist()
    np.testing.assert_array_equal(back[["x", "n"]].to_numpy(), values)
    assert back["sex"].tolist() == given["sex"].tolist()


def test_whole_draws_beyond_their_type_are_cut() -> None:
    table = pd.DataFrame({"a": np.array([1, 200], dtype=np.uint8), "b": [1, 2]})
    columns = survey(Frame(table))
    back = arrays.frame(np.array([[-3.0, 1e30], [300.0, -1e30]]), table, columns)
    assert back["a"].tolist() == [0, 255]
    assert (back["b"] > 0).tolist() == [True, False]
    assert back.dtypes.tolist() == table.dtypes.tolist()


def test_draws_with_gaps_keep_them() -> None:
    table = pd.DataFrame({"a": [1, 2], "b": [True, False]})
    back = arrays.frame(np.array([[np.nan, np.nan], [2.0, 1.0]]), table, survey(Frame(table)))
    assert back["a"].isna().tolist() == [True, False]
    assert back["b"].isna().tolist() == [True, False]


@pytest.mark.parametrize("dtype", ["float32", "Float32", "float16", "float64"])
def test_draws_stay_between_bounds_in_types_with_few_digits(dtype: str) -> None:
    table = pd.DataFrame({"a": pd.array([0.4, 0.5, 0.6], dtype=dtype)})
    columns = survey(Frame(table), {"a": (0.3, 0.7)})
    near = np.nextafter([[0.3], [0.7]], [[1.0], [0.0]])
    back = arrays.frame(near, table[:2], columns)
    assert str(back["a"].dtype) == dtype
    survey(Frame(back), {"a": (0.3, 0.7)})
    assert ((back["a"].astype(float) > 0.3) & (back["a"].astype(float) < 0.7)).all()


def test_numbers_of_the_other_byte_order() -> None:
    table = pd.DataFrame({"a": np.array([0.5, 1.5]).astype(">f8"), "b": np.array([1, 2], ">i4")})
    columns = survey(Frame(table))
    back = arrays.frame(np.array([[0.25, 3.0]]), table[:1], columns)
    assert back["a"].tolist() == [0.25]
    assert back["b"].tolist() == [3]


def test_contexts_are_given_back_in_the_type_that_holds_them() -> None:
    table = pd.DataFrame({"x": [0.5, 1.5], "c": pd.Categorical(["u", "v"]), "n": [3, 4]})
    columns = survey(Frame(table), conditional_on=["c", "n"])
    values = np.array([[0.25], [0.75]])
    whole = arrays.frame(values, pd.DataFrame({"c": ["v", "v"], "n": [3.0, 7.0]}), columns)
    assert whole.dtypes.astype(str).tolist() == ["float64", "category", "int64"]
    part = arrays.frame(values, pd.DataFrame({"c": ["v", "v"], "n": [3.5, 7.0]}), columns)
    assert part["n"].tolist() == [3.5, 7.0]


@pytest.mark.parametrize("values", [["u", "v", "v"], [1, 2, 2]])
def test_contexts_have_the_categories_of_the_table(values: Any) -> None:
    table = pd.DataFrame({"x": [0.5, 1.5, 2.5], "c": pd.Categorical(values)})
    columns = survey(Frame(table), conditional_on=["c"])
    for given in (values[1:2], pd.Categorical(values[1:2])):
        back = arrays.frame(np.array([[0.25]]), pd.DataFrame({"c": given}), columns)
        assert back["c"].dtype == table["c"].dtype
        assert back["c"].tolist() == values[1:2]


def test_categories_that_are_kept_as_text_are_given_back_as_they_came() -> None:
    days = pd.to_datetime(["2020-01-01", "2020-01-02"])
    table = pd.DataFrame({"x": [0.5, 1.5], "c": pd.Categorical(days)})
    columns = survey(Frame(table), conditional_on=["c"])
    back = arrays.frame(np.array([[0.25], [0.75]]), table, columns)
    assert back["c"].tolist() == days.tolist()


def test_categories_as_features_are_given_back_as_they_came() -> None:
    table = pd.DataFrame(
        {
            "text": pd.Series(["u", None, "v", "u"], dtype="str"),
            "object": pd.Series(["u", None, "v", "u"], dtype=object),
            "ordered": pd.Categorical(["low", "high", None, "low"], ["low", "high"], ordered=True),
            "unused": pd.Categorical([3, 1, 1, 3], [3, 2, 1]),
            "flag": [True, False, False, True],
            "nullable": pd.array([True, None, False, True], dtype="boolean"),
            "code": [7, 9, 9, 7],
        }
    )
    columns = survey(Frame(table), {"code": "categorical"}, missing="marginalise")
    codes = arrays.features(table, columns)
    assert [column.kind for column in columns.features].count("ordinal") == 1
    np.testing.assert_array_equal(codes[:, 0], [0, np.nan, 1, 0])
    np.testing.assert_array_equal(codes[:, 3], [0, 2, 2, 0])
    pd.testing.assert_frame_equal(arrays.frame(codes, table, columns), table)


def test_a_category_never_seen_has_a_code_of_its_own() -> None:
    table = pd.DataFrame({"c": ["u", "v", "u"], "x": [0.5, 0.7, 0.9]})
    columns = survey(Frame(table))
    new = table.assign(c=["w", "v", "w"])
    assert arrays.features(new, columns)[:, 0].tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("levels", "values", "expected"),
    [
        (["0", "1", "3+"], [1, 0, 1], [1, 0, 1]),
        (["0", "1", "3+"], [1.0, np.nan, 0.0], [1, np.nan, 0]),
        (["True", "False", "unknown"], [True, False, True], [1, 0, 1]),
        ([True, False, True], ["True", "False", "maybe"], [1, 0, 2]),
        ([1.5, 2.5, 2.5], ["1.5", "2.5", "3.5"], [0, 1, 2]),
    ],
)
def test_values_of_another_type_are_known_by_their_spelling(
    levels: Any, values: Any, expected: Any
) -> None:
    """A file that holds only some of the values may be read as another type."""
    table = pd.DataFrame({"c": levels, "x": [0.5, 0.7, 0.9]})
    columns = survey(Frame(table), {"c": "categorical"}, missing="marginalise")
    found = arrays.features(table.assign(c=values), columns)[:, 0]
    np.testing.assert_array_equal(found, expected)
    given = survey(Frame(table), {"c": "categorical"}, conditional_on=["c"])
    if np.nanmax(expected) < len(set(levels)) and not np.isnan(expected).any():
        one_hot = arrays.context(table.assign(c=values), given)
        np.testing.assert_array_equal(one_hot.argmax(1), expected)


def test_times_are_given_back_as_they_came() -> None:
    count, source = 30, np.random.default_rng(0)
    order = source.permutation(count)
    table = pd.DataFrame(
        {
            "day": pd.date_range("1999-12-30", periods=count)[order],
            "quarter": pd.date_range("2001-03-01 12:00", periods=count, freq="15min"),
            "zone": pd.date_range("2001-07-01", periods=count, freq="h"),
            "fine": pd.date_range("2001-03-01", periods=count, freq="13ms"),
            "lasts": pd.to_timedelta(90 * np.arange(count), "s"),
        }
    )
    for name in ("quarter", "zone", "fine", "lasts"):
        table[name] = table[name].to_numpy()[source.permutation(count)]
    table["zone"] = pd.to_datetime(table["zone"]).dt.tz_localize("UTC").dt.tz_convert("Europe/Rome")
    table["date"] = source.permutation(table["day"].dt.date)
    table.loc[4, "day"] = pd.NaT
    columns = survey(Frame(table), missing="marginalise")
    steps = {column.name: (column.step, column.unit) for column in columns.features}
    assert steps["day"] == steps["date"] == (86400, "s")
    assert (steps["quarter"], steps["fine"], steps["lasts"]) == (
        (900, "s"),
        (13000, "us"),
        (90, "s"),
    )
    back = arrays.frame(arrays.features(table, columns), table, columns)
    pd.testing.assert_frame_equal(back, table)
    with pytest.raises(ValueError, match="'day' has values that are not dates, such as 3"):
        arrays.features(table.assign(day=3), columns)


@pytest.mark.parametrize("dtype", ["float64", "float32", "Float64"])
@pytest.mark.parametrize(("step", "origin"), [(0.5, 0.25), (0.01, 0.0), (0.1, 0.0), (25.0, 0.0)])
def test_grids_are_given_back_to_the_last_digit(dtype: str, step: float, origin: float) -> None:
    values = np.round(origin + step * np.random.default_rng(0).integers(-400, 400, 200), 2)
    table = pd.DataFrame({"a": pd.array(values, dtype=dtype)})
    columns = survey(Frame(table))
    assert (columns.features[0].step, columns.features[0].origin) == (step, origin)
    codes = arrays.features(table, columns)
    assert (codes % 1 == 0).all()
    pd.testing.assert_frame_equal(arrays.frame(codes, table, columns), table)
