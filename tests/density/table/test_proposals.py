"""Problems of tables, and what is proposed."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from invflow.density.table import Frame, Parquet, read
from invflow.density.table.dialect import Dialect
from invflow.density.table.proposals import propose

ROWS = 60
RANDOM = np.random.default_rng(0)


def plain() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "x": RANDOM.normal(size=ROWS),
            "n": RANDOM.poisson(4, ROWS),
            "c": RANDOM.choice(["u", "v", "w"], ROWS),
            "b": RANDOM.random(ROWS) < 0.5,
            "t": pd.Timestamp("2024-01-01") + pd.to_timedelta(RANDOM.integers(0, 99, ROWS), "D"),
        }
    )


def said(frame: pd.DataFrame, **options: object) -> list[str]:
    return list(map(str, propose(Frame(frame), **options)))  # pyright: ignore[reportArgumentType]


def test_a_plain_table_has_none() -> None:
    assert not said(plain())


@pytest.mark.parametrize("value", [[1.0, 2.0], {"u": 1.0}, b"ab"])
def test_what_has_no_density(value: object, tmp_path: Path) -> None:
    table = pa.table({"x": RANDOM.normal(size=ROWS), "new": [value] * ROWS})
    parquet.write_table(table, tmp_path / "a.parquet")
    found = propose(read(tmp_path / "a.parquet"))
    assert [str(each) for each in found] == [
        "--drop new: values that are not numbers, text, dates or times"
    ]
    assert found[0].needed


def test_times_of_the_day_need_no_decision() -> None:
    times = [datetime.time(hour) for hour in (7, 12, 23)] * (ROWS // 3)
    assert not said(plain().assign(times=times))


@pytest.mark.parametrize("signs", [["*", "**", "-"], ["+", "-", "+"], ["?", "*", "."]])
def test_signs_are_levels(signs: list[str]) -> None:
    assert not said(plain().assign(signs=signs * (ROWS // 3)))
    frame = plain().assign(signs=["+", "-", "na"] * (ROWS // 3))
    mixed = said(frame, missing="marginalise")
    assert [line.partition(":")[0] for line in mixed] == ["--na na"]


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (range(7, 7 + ROWS), "--drop new: counts the rows"),
        (
            [f"C{i:05}" for i in range(ROWS)],
            "--drop new: text whose values hardly repeat, such as 'C00000'",
        ),
        (
            RANDOM.permutation(ROWS) + 2**60,
            "--drop new: whole numbers beyond 2**52, as ids have",
        ),
        (
            RANDOM.integers(0, 5, ROWS) + 2**60,
            "--drop new: whole numbers beyond 2**52, as ids have",
        ),
        (5, "--drop new: the same value in all rows"),
        (["a", None] * (ROWS // 2), "--drop new: the same value in all rows"),
        ([None] * ROWS, "--drop new: no values"),
        (
            ["1", "2", "?"] * (ROWS // 3),
            "--na '?': '?' looks like a missing value, in new (20)",
        ),
        (
            [*map(str, range(ROWS - 2)), "tall", "tall"],
            "--na tall: 'tall' looks like a missing value, in new (2)",
        ),
        (
            ["u", "v", "NA"] * (ROWS // 3),
            "--na NA: 'NA' looks like a missing value, in new (20)",
        ),
        ([np.inf, *range(1, ROWS)], "--na inf: infinite values in new (1)"),
        (
            ["01/02/2024", "02/03/2024"] * (ROWS // 2),
            "--dates new=%m/%d/%Y or --dates new=%d/%m/%Y: new has dates whose day and month may "
            "be either",
        ),
    ],
)
def test_problems(new: Any, message: str) -> None:
    assert said(plain().assign(new=new))[0] == message


def test_words_that_na_cannot_name() -> None:
    frame = plain().assign(new=[*map(str, range(ROWS - 2)), "tall, very", "a=b"])
    assert said(frame) == ["--drop new: text whose values hardly repeat, such as '0'"]


def test_copies() -> None:
    frame = plain()
    assert said(frame.assign(y=frame["x"], z=frame["c"], near=frame["x"] + 1e-9)) == [
        "--drop y: a copy of x",
        "--drop z: a copy of c",
    ]


def test_decided_columns_stay() -> None:
    frame = plain().assign(one=1, copy=lambda each: each["x"], row=range(ROWS))
    assert len(said(frame)) == 3
    assert not said(frame, decided={"one", "copy", "row"})


def test_gaps() -> None:
    frame = plain()
    frame.loc[:2, "x"] = None
    message = "--missing marginalise: missing values in x (3 of 60)"
    assert said(frame) == [message]
    assert not said(frame, missing="marginalise")
    frame["n"] = frame["n"].replace(frame["n"].mode()[0], -999)
    count = int((frame["n"] == -999).sum())
    assert said(frame) == [
        f"--na -999: '-999' looks like a missing value, in n ({count})",
        f"--missing marginalise: missing values in x (3 of 60), n ({count} of 60)",
    ]


def test_a_marker_that_is_a_value_elsewhere() -> None:
    frame = plain()
    frame["n"] = frame["n"].where(frame.index > 4, 99)
    frame["price"] = np.arange(ROWS) + 60.0
    assert (
        said(frame, missing="marginalise")
        == [
            "--drop price: counts the rows",
            "--na n=99: '99' looks like a missing value, in n (5)",
        ][1:]
    )


def test_numbers_with_decimal_commas() -> None:
    frame = plain().assign(new=["1,5", "?", "2,25", "3"] * (ROWS // 4))
    frame["new"] = [f"{i},5" if i % 7 else "?" for i in range(ROWS)]
    (found, gaps) = propose(Frame(frame), dialect=Dialect(decimal=","))
    assert (found.na, found.needed, gaps.marginalise) == (("?",), True, True)


def test_only_some_blocks_of_a_large_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(400) % 7, "one": 1})
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=10)
    assert [each.drop for each in propose(Parquet(tmp_path / "t.parquet"))] == [("one",)]


def test_many_columns_are_counted() -> None:
    frame = pd.DataFrame({f"c{i}": [None, *range(ROWS - 1)] for i in range(9)})
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True) ** 2
    frame += np.arange(9)
    (found,) = propose(Frame(frame))
    assert found.what.endswith("c5 (1 of 60) and 3 more")
