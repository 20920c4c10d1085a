"""Tables as users hand them over: by name or by place, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density import FlowDensity
from tests.density.estimators import small

ROWS = np.random.default_rng(3).normal(size=(120, 2)) @ [[1.0, 0.4], [0.0, 2.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="n"), "feature names should match .*\n?.*\n?.*n"),
        (lambda t: t.rename(columns={"n": "m"}), "(?s)feature names should match.*- m"),
        (lambda t: t.assign(more=1), "(?s)feature names should match.*- more"),
        (lambda t: t[t.columns[::-1]], "(?s)feature names should match.*same order"),
        (lambda t: t.head(0), "the table has no rows"),
        (
            lambda t: t.assign(x="text"),
            "column 'x' has values that are not numbers, such as 'text': give numbers, as in",
        ),
        (lambda t: t.assign(x=np.inf), "column 'x' has inf in row 0"),
        (
            lambda t: t.assign(x=pd.Timestamp("2020-01-01")),
            "column 'x' has values that are not numbers",
        ),
        (lambda t: t.assign(x=1j), "column 'x' is complex"),
        (lambda t: t.assign(group="w"), "column 'group' has the category 'w'"),
        (lambda t: t.assign(group=1.5), r"column 'group' has the category 1\.5"),
        (lambda t: pd.concat([t, t[["x"]]], axis=1), "two columns of the table are named 'x'"),
    ],
)
def test_bad_tables_at_scoring(
    frame: pd.DataFrame, fitted: FlowDensity, change: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fitted.score_samples(change(frame))


def test_bad_arrays_at_scoring(plain: FlowDensity) -> None:
    with pytest.raises(ValueError, match="3 features, but FlowDensity is expecting 2"):
        plain.score([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="column 'x1' has inf in row 0"):
        plain.score([[1.0, np.inf]])


def test_one_given_row_is_for_all_draws(fitted: FlowDensity) -> None:
    for given in ({"group": "v"}, pd.DataFrame({"group": ["v"]})):
        drawn = fitted.sample(5, given=given, random_state=0)
        assert drawn["group"].tolist() == ["v"] * 5
        assert len(drawn["x"].unique()) == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "given must have the columns 'group', got None"),
        (pd.DataFrame(index=[0]), "given does not have the column 'group'"),
        ({"other": 1}, "given names the column 'other', .* its columns are 'group', 'x'"),
        ({"group": "u", "grop": "v"}, "given names the column 'grop', .* its columns are 'group'"),
        ({"group": "u", 9: 1}, "given names the column 9, .* its columns are 'group'"),
        ({"group": "u", 0: "v"}, "given has the column 'group' twice"),
        (
            {"group": "u", "x": 1.0},
            "'x', which the density is not conditional on; give only 'group'",
        ),
        (pd.DataFrame({"n": [3], "group": ["u"]}), "'n', which the density is not conditional on"),
        ({"group": "w"}, "'group' has the category 'w', which was not seen in training"),
        (
            {"group": None},
            "'group', which the density is conditional on, has a missing value in row 0",
        ),
        (pd.DataFrame({"group": ["u", "v"]}), "given must have one row or 3, got 2"),
    ],
)
def test_bad_contexts(fitted: FlowDensity, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted.sample(3, given=given)


def test_context_where_there_is_none(plain: FlowDensity) -> None:
    with pytest.raises(
        ValueError, match="given must be None, because the density is not conditional"
    ):
        plain.sample(3, given={"x0": 1})


def test_context_by_number(rows: Any) -> None:
    density = small(conditional_on=[1]).fit(rows)
    drawn = density.sample(3, given={"x1": 5.0}, random_state=0)
    assert drawn[:, 1].tolist() == [5.0] * 3
    shifted = density.score_samples(rows + np.array([0, 1])) - density.score_samples(rows)
    assert np.abs(shifted).max() > 1e-3


def test_given_rows_as_a_mapping(fitted: FlowDensity) -> None:
    drawn = fitted.sample(3, given={"group": ["v", "u", "v"]}, random_state=0)
    assert drawn["group"].tolist() == ["v", "u", "v"]
    for given in (["u", "v", "u"], pd.Series(["u"]), np.array([["u"]])):
        with pytest.raises(TypeError, match="given must be a DataFrame or a mapping, or an array"):
            fitted.sample(3, given=given)


def test_given_whole_rows(fitted: FlowDensity, frame: pd.DataFrame) -> None:
    drawn = fitted.sample(5, given=frame.head(5), random_state=0)
    expected = fitted.sample(5, given=frame[["group"]].head(5), random_state=0)
    pd.testing.assert_frame_equal(drawn, expected)
    with pytest.raises(ValueError, match="'x', which the density is not conditional on"):
        fitted.sample(5, given=dict(frame.iloc[0]))


def test_columns_go_by_place_where_a_table_has_no_names() -> None:
    frame = pd.DataFrame(ROWS, columns=["b", "a"])
    by_name = FlowDensity("gaussian", steps=20, random_state=0).fit(frame)
    by_place = FlowDensity("gaussian", steps=20, random_state=0).fit(ROWS)
    expected = by_name.score_samples(frame)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(by_name.score_samples(ROWS), expected)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        assert np.array_equal(by_place.score_samples(frame), expected)
    assert isinstance(by_place.sample(2, random_state=0), np.ndarray)
    numbered = FlowDensity("gaussian", steps=20, random_state=0).fit(pd.DataFrame(ROWS))
    assert np.array_equal(numbered.score_samples(ROWS), expected)
    assert isinstance(numbered.sample(2, random_state=0), pd.DataFrame)


def test_given_by_number() -> None:
    density = FlowDensity("gaussian", conditional_on=[0], steps=20, random_state=0).fit(ROWS)
    drawn = density.sample(3, given={0: 0.5}, random_state=0)
    assert np.array_equal(drawn, density.sample(3, given={"x0": 0.5}, random_state=0))
    assert (drawn[:, 0] == 0.5).all()


def test_given_as_an_array() -> None:
    rows = np.column_stack([ROWS, ROWS[:, 0] ** 2])
    density = FlowDensity("gaussian", conditional_on=[2, 0], steps=20, random_state=0).fit(rows)
    for given in (np.array([[4.0, 0.5]]), [[4, 0.5]]):
        drawn = density.sample(3, given=given, random_state=0)
        assert np.array_equal(drawn, density.sample(3, given={0: 0.5, 2: 4}, random_state=0))
        assert drawn[:, [0, 2]].tolist() == [[0.5, 4.0]] * 3
    each = rows[:3, [2, 0]]
    assert np.array_equal(density.sample(3, given=each, random_state=0)[:, [2, 0]], each)
    for given, message in {
        ((4.0,),): r"\(rows, 2\), one column for each of 'x2', 'x0', got \(1, 1\)",
        (4.0, 0.5): "Expected 2D array, got 1D array",
        ((4.0, 0.5), (4.0, 0.5)): "given must have one row or 3, got 2",
        (
            (4.0, np.nan),
        ): "column 'x0', which the density is conditional on, has a missing value in row 0",
    }.items():
        with pytest.raises(ValueError, match=message):
            density.sample(3, given=given)
    with pytest.raises(TypeError, match="given must be a DataFrame or a mapping, or an array"):
        density.sample(3, given=pd.Series([4.0, 0.5]))
