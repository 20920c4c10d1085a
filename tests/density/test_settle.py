"""Decisions about the table of a run."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invflow._undecided import UndecidedError
from invflow.density import experiment
from invflow.density.config import Config
from invflow.density.settle import settle
from invflow.density.table.dialect import Dialect
from tests.density.runs import QUICK

ROWS = 60


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table as it may lie about."""
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
    assert config.reading == Dialect(
        separator=";",
        decimal=",",
        encoding="cp1252",
        dates={"day": "%d.%m.%Y"},
        text=("id", "kind"),
        places={"größe": 1},
    )
    assert config.drop == ("id",)
    assert sorted(config.na) == ["-200", "?"]
    assert config.missing == "marginalise"
    assert lines[0] == "read as: semicolons, decimal commas, cp1252, day as %d.%m.%Y"
    assert len(lines) == 5
    again, few = settle(config)
    assert again == config
    assert few == lines[:1]


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
        with pytest.raises(ValueError, match=f"{option} names the column 'x', which the table"):
            settle(Config.model_validate({"data": str(table), "reading": wrong}))
    with pytest.raises(ValueError, match="na names the column 'x', which the table"):
        settle(Config(data=str(table), na=("-200,x=3",)))
    for option in ("drop", "only"):
        with pytest.raises(ValueError, match=f"{option} names the column 'x', which the table"):
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
