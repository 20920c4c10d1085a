"""Decisions about the table of a run."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invflow._undecided import UndecidedError
from invflow.density import data, experiment
from invflow.density.config import Config
from invflow.density.settle import settle
from invflow.density.table.dialect import Dialect, Layout
from tests.density.runs import QUICK

ROWS = 60


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table as people have them."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"C{i:04}" for i in range(ROWS)],
            "day": pd.date_range("2024-02-01", periods=ROWS).strftime("%d.%m.%Y"),
            "größe": random.normal(170, 10, ROWS).round(1),
            "kind": random.choice(["a", "b", "?"], ROWS),
            "value": np.where(np.arange(ROWS) % 9, random.gamma(9, 10, ROWS).round(2), -200.0),
        }
    )
    frame.to_csv(tmp_path / "t.csv", sep=";", decimal=",", index=False, encoding="cp1252")
    return tmp_path / "t.csv"


def test_everything_is_decided(table: Path) -> None:
    config, lines = settle(Config(data=str(table), auto=True))
    spelling = config.reading.spelling
    assert (spelling["größe"].least, spelling["value"].most) == (1, 2)
    assert replace(config.reading, spelling={}) == Dialect(
        separator=";",
        decimal=",",
        thousands="",
        encoding="cp1252",
        header=True,
        skip=0,
        units=False,
        dates={"day": "%d.%m.%Y"},
        codes=(),
        text=("id", "kind"),
    )
    assert config.drop == ("id",)
    assert sorted(config.na) == ["-200", "?"]
    assert config.missing == "marginalise"
    assert lines[0] == "read as: semicolons, decimal commas, cp1252, day as %d.%m.%Y"
    assert len(lines) == 5
    again, few = settle(config)
    assert again == config
    assert few == lines[:1]


def test_what_is_asked_is_kept(tmp_path: Path) -> None:
    lines = [f"{i / 7:.4f},{i / 9:.4f}" for i in range(30)]
    (tmp_path / "y.csv").write_text("\n".join(["1999.0,2001.5", *lines]))
    asked = Dialect(separator=",", decimal=".", encoding="utf-8", header=True, skip=0, units=False)
    config = Config(data=str(tmp_path / "y.csv"), reading=asked)
    found, _ = settle(config)
    for name, value in vars(asked).items():
        assert value in (None, {}, Layout()) or getattr(found.reading, name) == value
    assert data.table(found).names == ("1999.0", "2001.5")
    assert data.table(settle(Config(data=str(tmp_path / "y.csv")))[0]).names == ("x0", "x1")


def test_other_files_are_read_by_the_same_rules(tmp_path: Path) -> None:
    train, other = tmp_path / "t.csv", tmp_path / "o.csv"
    train.write_text("\n".join(["a,b", *(f"{i / 7:.4f},{i / 9:.4f}" for i in range(30))]))
    config, _ = settle(Config(data=str(train)))
    other.write_bytes("a;b\n1.5;2.5\n3.5;1.5\n".encode("utf-16"))
    assert data.table(config, other).block(0)["a"].tolist() == [1.5, 3.5]
    other.write_text("a;b\n1,5;2,5\n3,5;1,5\n")
    assert data.table(config, other).block(0)["a"].tolist() == ["1,5", "3,5"]
    other.write_text('a,b\n"1,234",2.5\n"2,345",1.5\n')
    assert data.table(config, other).block(0)["a"].tolist() == ["1,234", "2,345"]
    other.write_text("4,5\n1.5,2.5\n")
    assert data.table(config, other).names == ("4", "5")


def test_decisions_are_needed(table: Path) -> None:
    message = r"needs decisions \(--auto takes all of them\):\n  --na"
    with pytest.raises(UndecidedError, match=message) as caught:
        settle(Config(data=str(table)))
    assert len(str(caught.value).splitlines()) == 5
    config = Config(data=str(table), na=("-200,?",), only=("value,kind",), missing="marginalise")
    found, lines = settle(config)
    assert (found.only, found.drop, len(lines)) == (("value", "kind"), (), 1)


def test_no_column_is_left(tmp_path: Path) -> None:
    pd.DataFrame({"a": [f"i{i}" for i in range(ROWS)], "b": 1}).to_csv(tmp_path / "t.csv")
    for auto in (False, True):
        with pytest.raises(
            UndecidedError, match="does not have a usable column:\n  --drop a"
        ) as caught:
            settle(Config(data=str(tmp_path / "t.csv"), auto=auto))
        assert len(str(caught.value).splitlines()) == 3


def test_columns_that_do_not_exist(table: Path) -> None:
    for option, wrong in [
        ("dates", {"dates": {"x": "%d"}}),
        ("codes", {"codes": ("x",)}),
        ("index", {"index": "x"}),
    ]:
        with pytest.raises(ValueError, match=f"--{option} names the column 'x', which the table"):
            settle(Config.model_validate({"data": str(table), "reading": wrong}))
    with pytest.raises(ValueError, match="--na names the column 'x', which the table"):
        settle(Config(data=str(table), na=("value=-200", "-200,x=3")))
    for empty in ("kind=", "-200,", ""):
        with pytest.raises(ValueError, match=r"--na has '.*' without a value; say --na VALUE"):
            settle(Config(data=str(table), na=(empty,)))
    for option in ("drop", "only"):
        with pytest.raises(ValueError, match=f"--{option} names the column 'x', which the table"):
            settle(Config.model_validate({"data": str(table), option: ("kind,x",)}))
    with pytest.raises(ValueError, match=r"no column is left of .*: drop fewer"):
        settle(Config(data=str(table), only=("kind",), drop=("kind",)))


def test_a_run_is_resumed_and_kept(table: Path, tmp_path: Path) -> None:
    config = Config.model_validate({"data": str(table), "auto": True, **QUICK, "steps": 5})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        first = experiment.train(config, tmp_path / "run")
    lines = [str(each.message).partition("t.csv: ")[2] for each in said]
    assert lines == list(first.results.settled)
    assert len(lines) == 5
    assert first.config.drop == ("id",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        again = experiment.train(config, tmp_path / "run")
    assert again.results == first.results
    assert list(again.rows.whole.names) == ["day", "größe", "kind", "value"]
    assert again.rows.whole.block(0)["value"].isna().sum() == 7
