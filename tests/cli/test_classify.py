"""`invflow classify` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invflow.cli.app import app
from invflow.density import run as runs
from tests.cli.conftest import Invflow
from tests.density.runs import mixed, written

SMALL = ("--flow", "gaussian", "--steps", 60, "--batch-size", 64, "--learning-rate", 0.02)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs")
    mixed().to_parquet(directory / "table.parquet", index=False)
    table = directory / "table.parquet"
    command = ["density", table, "--runs", directory, *SMALL, "--conditional-on", "new"]
    app([str(each) for each in command], standalone_mode=False)
    return directory / "table"


def test_probabilities_are_those_of_the_estimator(
    invflow: Invflow, finished: Path, tmp_path: Path
) -> None:
    test = mixed(40, seed=3)
    code, out, err = invflow("classify", finished, written(test, tmp_path / "t.csv"), "colour")
    assert (code, err) == (0, "")
    found = pd.read_csv(finished / "classes.csv")
    names = ["probability_green", "probability_red"]
    assert list(found) == [*test, *names]
    pd.testing.assert_frame_equal(found[list(test)], pd.read_csv(tmp_path / "t.csv"))
    expected = runs.load(finished).density.probabilities(test, "colour")
    np.testing.assert_allclose(found[names], expected[["green", "red"]], rtol=1e-6)
    right = (expected.idxmax(axis=1) == test["colour"]).mean()
    assert f"{right:.1%}" in out
    assert "of 40 whose colour is given" in out
    assert f"{(expected['red'] > 0.5).sum()}" in out


def test_the_values_of_the_column_are_not_used(
    invflow: Invflow, finished: Path, tmp_path: Path
) -> None:
    test = mixed(30, seed=4).assign(id=np.arange(30))
    frames = {
        "whole": test,
        "lacking": test.drop(columns="colour"),
        "gaps": test.assign(colour=test["colour"].where(test["size"] > 1)),
    }
    found: dict[str, pd.DataFrame] = {}
    for name, frame in frames.items():
        out = tmp_path / f"{name}.parquet"
        data = written(frame, tmp_path / f"{name}.csv")
        code, shown, _ = invflow("classify", finished, data, "colour", "--out", out)
        assert code == 0
        found[name] = pd.read_parquet(out)
        assert list(found[name]["id"]) == list(range(30))
        given = len(frame["colour"].dropna()) if "colour" in frame else 0
        assert ("is given" in shown) == bool(given)
        assert not given or f"of {given} whose" in shown
    for name in ("lacking", "gaps"):
        for column in ("probability_green", "probability_red"):
            np.testing.assert_array_equal(found[name][column], found["whole"][column])


def test_only_some_of_many_values_are_shown(invflow: Invflow, tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    kind = source.integers(0, 14, 400)
    frame = pd.DataFrame({"size": kind * 20 + source.normal(size=400), "kind": kind.astype(str)})
    data = written(frame, tmp_path / "t.csv")
    kinds = ("--kinds", "kind=categorical")
    assert (
        invflow("density", data, "--runs", tmp_path, *kinds, "--flow", "nsf", "--steps", 150)[0]
        == 0
    )
    code, out, _ = invflow("classify", tmp_path / "t", data, "kind")
    assert code == 0
    assert out.count("most likely") == 11
    assert "most likely another of 14" in out
    assert len(list(pd.read_csv(tmp_path / "t" / "classes.csv"))) == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("TABLE", "size"), "column must be categorical, got 'size'"),
        (("TABLE", "nothing"), "column names the column 'nothing', which the table does not have"),
        (("TABLE", "new"), "the density is conditional on 'new', and does not give it"),
        (("FEWER", "colour"), "lacks the column 'count'; only 'colour' may be missing"),
        (("DONE", "colour"), "'probability_green', the name of a probability: rename it"),
        (("EMPTY", "colour"), "has no rows"),
        (("nowhere.csv", "colour"), "nowhere.csv does not exist"),
        (("TABLE", "colour", "--out", "a.npz"), "--out must end in"),
        (("TABLE", "colour", "--out", "TABLE"), "--out must not overwrite the table itself"),
    ],
)
def test_what_does_not_suit_is_one_line(
    invflow: Invflow, finished: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    frame = mixed(20)
    files = {
        "TABLE": written(frame, tmp_path / "table.csv"),
        "FEWER": written(frame.drop(columns=["count", "colour"]), tmp_path / "fewer.csv"),
        "DONE": written(frame.assign(probability_green=0.5), tmp_path / "done.csv"),
        "EMPTY": written(frame[:0], tmp_path / "empty.csv"),
    }
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    given = [files.get(each, each) for each in arguments]
    code, out, err = invflow("classify", finished, *given)
    assert code != 0
    assert message in err
    assert not out
    assert err.count("\n") == 0
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
