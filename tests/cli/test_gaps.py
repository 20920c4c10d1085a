"""Gaps that are learned, on the command line: they are drawn, and written as in the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tests.cli.conftest import Invflow


def test_gaps_are_drawn_with_the_marker_of_the_table(invflow: Invflow, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"a": random.normal(size=200).round(2) + 0.0, "b": random.integers(0, 9, 200)}
    )
    text = rows.astype(str)
    text.loc[::3, "a"] = "?"
    text.to_csv(tmp_path / "t.csv", index=False)
    run = tmp_path / "run"
    options = ["--auto", "--missing", "learn", "--steps", "30", "--flow", "gaussian"]
    named = ["--runs", tmp_path, "--name", "run"]
    code, _, error = invflow("density", tmp_path / "t.csv", *options, *named)
    assert code == 0, error
    assert (run / "report.html").stat().st_size > 10_000
    assert invflow("sample", run, "--count", "300")[0] == 0
    drawn = pd.read_csv(run / "samples.csv", dtype=str, keep_default_na=False)
    assert 0.2 < (drawn["a"] == "?").mean() < 0.45
    assert drawn.loc[drawn["a"] != "?", "a"].str.fullmatch(r"-?\d+\.\d{1,2}").all()
    assert not (drawn["b"] == "?").any()
    filled = tmp_path / "filled.csv"
    assert invflow("sample", run, "--fill", tmp_path / "t.csv", "--out", filled)[0] == 0
    whole = pd.read_csv(filled, dtype=str)
    assert not whole.isin(["?"]).any().any()
    there = text["a"] != "?"
    pd.testing.assert_series_equal(whole.loc[there, "a"], text.loc[there, "a"], check_dtype=False)
