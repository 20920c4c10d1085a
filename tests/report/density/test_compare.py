"""Several densities of the same table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from invflow.density import experiment
from invflow.density.run import Run, load
from invflow.report.density.compare import ahead, compare, gain, results
from invflow.runs.directory import Input
from tests.density.runs import config, mixed, written
from tests.report.pages import headings


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    directory = tmp_path_factory.mktemp("compare")
    table = written(mixed(200), directory / "table.csv")
    asked = [
        config(table, steps=steps, conditional_on=("colour",), seed=seed)
        for steps, seed in ((10, 0), (20, 0), (20, 1))
    ]
    return [experiment.train(each, directory / f"run-{i}") for i, each in enumerate(asked)]


def test_the_page(runs: list[Run], tmp_path: Path) -> None:
    found = compare(runs)
    assert list(found.tables) == [
        "Test rows, nats per row",
        "Mean over seeds, ± standard error over seeds",
    ]
    head, *rows = results({str(i): run for i, run in enumerate(runs)})
    assert head == ("run", "log density", "gain", "calibrated columns", "time")
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert rows[0][2] == ""
    _, mean = list(found.tables.values())[1]
    assert mean[:2] == ("run-1, run-2", "2")
    found.write(tmp_path / "compare.html")
    text = (tmp_path / "compare.html").read_text()
    assert headings(text) == [
        "Results",
        "Averages over seeds",
        "Settings that differ",
        "Training",
    ]
    assert text.count("<svg") == 2  # against steps and against time


def test_gains_of_the_same_test_rows_are_paired(runs: list[Run]) -> None:
    short, long, other = runs
    scores = [run.density.score_samples(run.rows.test) for run in runs]
    gains = scores[1] - scores[0]
    assert gain(long, short) == f"{gains.mean():+.2f} ± {gains.std(ddof=1) / 20**0.5:.2f}"
    # Those of other test rows are not: their variances add.
    value = scores[2].mean() - scores[0].mean()
    error = np.sqrt(scores[2].var(ddof=1) / 20 + scores[0].var(ddof=1) / 20)
    assert gain(other, short) == f"{value:+.2f} ± {error:.2f}"


def test_what_is_ahead(runs: list[Run]) -> None:
    short, long, other = (
        replace(run, scores=torch.tensor([0.0, 1.0, 2.0, 3.0]).double() + gain)
        for run, gain in zip(runs, (0.0, 2.0, 7.0), strict=True)
    )
    found = ahead({"short": short, "long": long})
    assert found is not None
    assert (found.level, found.headline) == (
        "clear",
        "long is ahead of short by 2.00 ± 0.00 in log density (nats).",
    )
    # The other seed is of the same settings as the long run; the seed in common decides.
    found = ahead({"short": short, "long": long, "other": other})
    assert found is not None
    assert found.headline == (
        "long (2 seeds) is ahead of short by 2.00 ± 0.00 in log density (nats)."
    )
    assert ahead({"long": long, "other": other}) is None
    assert compare(runs).verdict == ahead({run.directory.name: run for run in runs})


def test_the_scores_of_rows_are_on_disk(runs: list[Run], tmp_path: Path) -> None:
    """The table is not needed to compare densities."""
    made = runs[0]
    assert made.scores.tolist() == made.density.score_samples(made.rows.test).tolist()
    loaded = load(made.directory)
    assert loaded.known is None
    assert loaded.scores.tolist() == made.scores.tolist()
    lost = [replace(r, known=None, data=r.data._replace(path=tmp_path / "gone")) for r in runs]
    assert compare(lost).tables == compare(runs).tables
    with pytest.raises(ValueError, match="have scores of the same test rows, got 19 and 20"):
        gain(replace(made, scores=made.scores[1:]), made)


def test_what_is_not_compared(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="different tables and cannot be compared"):
        compare([runs[0], replace(runs[1], data=Input(None, "another"))])
    given = ("colour", "new")
    asked = config(Path(runs[0].config.data), steps=10, conditional_on=given)
    other = experiment.train(asked, tmp_path / "other")
    with pytest.raises(ValueError, match="columns, or on columns of other kinds, and cannot"):
        compare([runs[0], other])
