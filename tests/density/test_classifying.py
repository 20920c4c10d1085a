"""Probabilities of categories given the rest of a row: shapes, labels, tables, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density import FlowDensity
from tests.density.estimators import mixed, small


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return mixed().drop(columns="seen").assign(size=pd.Categorical(["s", "m", "l", "m"] * 50))


@pytest.fixture(scope="module")
def density(frame: pd.DataFrame) -> FlowDensity:
    kinds = {"rate": (0, 1), "size": ("ordinal", ("s", "m", "l"))}
    return small(kinds=kinds).fit(frame)


@pytest.mark.parametrize(
    ("column", "values"),
    [("group", ["u", "v"]), ("flag", [False, True]), ("size", ["s", "m", "l"]), (0, ["u", "v"])],
)
def test_they_are_those_of_the_density(
    column: Any, values: list[Any], density: FlowDensity, frame: pd.DataFrame
) -> None:
    rows = frame.iloc[[5, 3, 7]]
    found = density.probabilities(rows, column)
    assert list(found.columns) == values
    assert list(found.index) == [5, 3, 7]
    name = frame.columns[column] if isinstance(column, int) else column
    for value in values:
        others = np.logaddexp.reduce([density.score_samples(_with(rows, name, v)) for v in values])
        expected = np.exp(density.score_samples(_with(rows, name, value)) - others)
        np.testing.assert_allclose(found[value], expected, rtol=1e-6)


def _with(rows: pd.DataFrame, name: str, value: Any) -> pd.DataFrame:
    column = pd.Series([value] * len(rows), index=rows.index).astype(rows[name].dtype)
    return rows.assign(**{name: column})


def test_the_values_of_the_column_are_not_used(density: FlowDensity, frame: pd.DataFrame) -> None:
    found = density.probabilities(frame, "group")
    for rows in (
        frame.drop(columns="group"),
        frame.assign(group=None),
        frame.assign(group="never seen"),
    ):
        before = rows.copy()
        pd.testing.assert_frame_equal(density.probabilities(rows, "group"), found)
        pd.testing.assert_frame_equal(rows, before)


def test_other_tables_get_their_own(density: FlowDensity, frame: pd.DataFrame) -> None:
    polars = pytest.importorskip("polars")
    rows = polars.from_pandas(frame)
    kinds = {"rate": (0, 1), "size": ("ordinal", ("s", "m", "l"))}
    found = small(kinds=kinds).fit(rows).probabilities(rows.drop("flag"), "flag")
    assert isinstance(found, polars.DataFrame)
    assert found.columns == ["False", "True"]
    expected = density.probabilities(frame, "flag").to_numpy()
    np.testing.assert_allclose(found.to_numpy(), expected, rtol=1e-6)


def test_arrays(frame: pd.DataFrame) -> None:
    rows = frame[["x", "rate", "n"]].to_numpy().copy()
    rows[:, 2] = rows[:, 2] % 3
    density = small(kinds={2: "categorical"}, conditional_on=[0]).fit(rows)
    found = density.probabilities(rows, 2)
    assert found.shape == (len(rows), 3)
    np.testing.assert_allclose(found.sum(-1), 1)
    rows[:, 2] = np.nan
    np.testing.assert_array_equal(density.probabilities(rows, 2), found)
    with pytest.raises(ValueError, match="conditional on 'x0', and does not give it"):
        density.probabilities(rows, 0)


def test_gaps_elsewhere_are_integrated_out(frame: pd.DataFrame) -> None:
    table = frame[["group", "x", "flag"]]
    density = small(missing="marginalise", steps=50).fit(table)
    rows = table.astype({"flag": "boolean"})[:20]
    whole = density.probabilities(rows.assign(flag=None).astype({"flag": "boolean"}), "group")
    joint = density.probabilities(rows.assign(flag=True).astype({"flag": "boolean"}), "group")
    other = density.probabilities(rows.assign(flag=False).astype({"flag": "boolean"}), "group")
    # By the law of total probability the first lies between the others.
    low, high = np.minimum(joint, other), np.maximum(joint, other)
    assert ((low - 1e-9 <= whole) & (whole <= high + 1e-9)).to_numpy().all()


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("x", "column must be categorical, got 'x'"),
        ("nothing", "column names the column 'nothing', which the table does not have"),
    ],
)
def test_errors(column: str, words: str, density: FlowDensity, frame: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=words):
        density.probabilities(frame, column)


def test_impossible_rows_are_refused(density: FlowDensity, frame: pd.DataFrame) -> None:
    rows = frame[:3].copy()
    rows.loc[1, "rate"] = 2.0
    with pytest.raises(ValueError, match="density is zero in row 1 for every value of 'group'"):
        density.probabilities(rows, "group")
