"""Means and scales of some of a table's rows; what columns hold is of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density.table import Frame, Parquet, bounded, standardise, survey

ROWS = 90
SOURCE = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "x": 1e6 + SOURCE.normal(size=ROWS),
        "n": 100 + SOURCE.poisson(3, ROWS),
        "count": SOURCE.poisson(2, ROWS),
        "rate": SOURCE.beta(2, 3, ROWS),
        "t": SOURCE.normal(size=ROWS),
        "colour": SOURCE.choice(["red", "green"], ROWS),
    }
)
SAID: Any = {"kinds": {"count": ("integer", 0, None), "rate": (0, 1)}, "conditional_on": [4, 5]}
#: What a flow sees of each column.
SEEN = {
    "x": lambda x: x,
    "n": lambda n: n + 0.5,
    "count": lambda n: np.log(n + 0.5),
    "rate": lambda p: np.log(p) - np.log1p(-p),
    "t": lambda t: t,
}


def test_moments_are_those_of_the_rows_given() -> None:
    part = TABLE[20:61]
    found = standardise(survey(Frame(TABLE), **SAID), Frame(part))
    for column in (*found.features, found.context[0]):
        seen = SEEN[column.name](part[column.name].to_numpy())
        variance = seen.var() + (1 / 12 if column.name == "n" else 0)
        assert column.location == pytest.approx(seen.mean(), rel=1e-12)
        assert column.scale == pytest.approx(np.sqrt(variance), rel=1e-8)


def test_of_all_rows_nothing_changes(tmp_path: Path) -> None:
    TABLE.to_parquet(tmp_path / "t.parquet", row_group_size=40)
    for source in (Frame(TABLE), Parquet(tmp_path / "t.parquet")):
        columns = survey(source, **SAID)
        assert standardise(columns, source) == columns


def test_what_columns_hold_is_of_all_rows() -> None:
    table = TABLE.assign(n=TABLE["n"].astype(float))
    table.loc[80, "n"] = 0.5
    table.loc[81, "colour"] = "mauve"
    columns = survey(Frame(table), **SAID)
    found = standardise(columns, Frame(table[:80]))
    assert (found.features[1].kind, found.features[1].step) == ("grid", 0.5)
    assert found.context[1].categories == ("green", "mauve", "red")
    assert [(c.smallest, c.largest) for c in found.features] == [
        (c.smallest, c.largest) for c in columns.features
    ]


def test_columns_that_do_not_vary_over_these_rows() -> None:
    table = pd.DataFrame({"x": [0.5, 0.5, 0.5, 9.0], "flag": [0, 0, 0, 1]})
    columns = survey(Frame(table))
    with pytest.raises(ValueError, match="'x' hardly varies over its 3 training values"):
        standardise(columns, Frame(table[:3]))
    # Dequantised, whole numbers vary between each and the next.
    flag = standardise(survey(Frame(table[["flag"]])), Frame(table[["flag"]][:3])).features[0]
    assert (flag.location, flag.scale) == (0.5, pytest.approx(np.sqrt(1 / 12)))


@pytest.mark.parametrize("value", [0.5, 3.0])
def test_a_column_without_values_in_these_rows(value: float) -> None:
    table = pd.DataFrame({"x": [np.nan, np.nan, value, 1.0], "y": [0.1, 0.2, 0.3, 0.5]})
    columns = survey(Frame(table), missing="marginalise")
    with pytest.raises(ValueError, match="'x' hardly varies over its 0 training values"):
        standardise(columns, Frame(table[:2]))


def test_bounds_are_those_of_the_training_rows() -> None:
    ages = np.tile(np.arange(40.0), 10)
    table = pd.DataFrame(
        {
            "found": ages,  # from zero on
            "lower": np.where(np.arange(400) < 390, ages + 5, 0.0),  # in the test rows alone
            "given": (3 * ages) % 40,
            "wait": pd.to_timedelta((7 * ages) % 40, unit="h"),
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta((11 * ages) % 40, unit="D"),
        }
    )
    table.loc[399, ["found", "wait"]] = [-1.0, pd.Timedelta(hours=-1)]
    columns = survey(Frame(table), {"given": ("integer", -3, None)})
    low = {column.name: column.low for column in columns.features}
    assert (low["found"], low["lower"], low["given"], low["wait"]) == (None, 0.0, -3.0, None)
    train = Frame(table[:390])
    changed = {column.name: column for column in bounded(columns, train).features}
    expected = {"found": 0.0, "lower": 5.0, "given": -3.0, "wait": 0.0}
    assert {name: changed[name].low for name in expected} == expected
    assert changed["found"].beyond == 1 / 391
    assert changed["given"].beyond == 0.0
    dates = [column for column in columns.features if column.of == "when"]
    assert [changed[column.name] for column in dates] == dates


def test_bounds_of_all_rows_do_not_change() -> None:
    columns = survey(Frame(TABLE), **SAID)
    assert bounded(columns, Frame(TABLE)) == columns
