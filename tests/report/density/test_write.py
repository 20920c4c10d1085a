"""The page of a density run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from invflow.density import experiment
from invflow.density.run import Run
from invflow.report import density as report
from invflow.report import figures
from invflow.report.density import points as module
from invflow.report.density import ranks
from invflow.report.density.curve import lines, view
from tests.density.runs import config, mixed, written
from tests.report.pages import headings

SECTIONS = [
    "Results",
    "Rows and draws",
    "Ranks",
    "Calibration",
    "Two-sample tests",
    "Columns that fit worst",
    "Rows that fit worst",
    "Training",
    "Columns",
    "Settings",
]


def _run(directory: Path, frame: pd.DataFrame, **settings: object) -> Run:
    asked = config(written(frame, directory / "<table>.csv"), **settings)
    return experiment.train(asked, directory / "run")


def _text(run: Run) -> str:
    report.write(run)
    return (run.directory / "report.html").read_text()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _run(
        tmp_path_factory.mktemp("report"),
        mixed(600),
        conditional_on=("colour",),
        kinds={"share": (0, 1)},
    )


def test_page_holds_everything(trained: Run) -> None:
    text = _text(trained)
    assert headings(text) == [*SECTIONS[:2], "Categories", *SECTIONS[2:]]
    assert text.count("<svg") == 1 + 1 + 4 + 1
    assert "invflow density" in text
    assert "600 rows, of which 60 test rows" in text
    assert "&lt;table&gt;.csv" in text
    assert "<table>.csv" not in text
    assert "<h1>invflow: density of &lt;table&gt;.csv</h1>" in text
    assert '<section class="verdict ' in text.partition("<nav")[0]
    for words in (
        "4 columns given colour; 600 rows, 60 of them test rows",
        "in nats per row",
        "it is the log probability, estimated as an average over points",
        "context, categorical, 2 categories",
        "continuous, above 0 and below 1",
        "rows of the table, training rows included",
        "for the 3 columns whose ranks fit worst",
        "The fraction of rows of the table (blue) and of draws (orange) with each value",
        "Bars of the values of new among the rows: False ",
    ):
        assert words in text, words


def test_page_of_one_column_with_gaps(tmp_path: Path) -> None:
    frame = mixed(200)[["size"]]
    frame.loc[::9, "size"] = np.nan
    run = _run(tmp_path, frame, missing="marginalise", steps=20)
    text = _text(run)
    assert "with missing values were left out" in text
    assert "too few complete rows to train a classifier" in text
    assert "density of the observed values" in text
    # The training loss includes that of the imputer.
    assert list(lines(run)) == ["validation rows"]


def test_pairs_show_the_worst_columns(trained: Run) -> None:
    shown = module.points(trained)
    worst = trained.results.assessment.worst_columns
    assert shown.names == [name for name in worst if name != "new"]
    assert shown.rows.shape == shown.draws.shape == (600, 3)
    size, count = shown.names.index("size"), shown.names.index("count")
    # Rows in the order of the table, and draws with their contexts, which move the size by 3.
    frame = mixed(600)
    np.testing.assert_allclose(shown.rows[:, size], frame["size"], atol=1e-9)
    moved = shown.draws[:, size][frame["colour"] == "red"].mean()
    assert moved - shown.draws[:, size][frame["colour"] == "green"].mean() > 1
    assert len(figures.pairs(shown.names, shown.rows, shown.draws).figure.axes) == 9
    low, high = figures.limits(shown.rows)[count]
    assert low < 0
    assert high > frame["count"].max()
    (new,) = shown.levels
    assert (new.name, new.values) == ("new", ["False", "True"])
    assert new.rows == pytest.approx([(~frame["new"]).mean(), frame["new"].mean()])
    assert sum(new.draws) == pytest.approx(1)
    outside = module.Points(["a"], np.array([[0.0], [1.0]]), np.array([[5.0], [0.5]]), True)
    assert outside.out_of_view == 1


def test_page_of_categories_alone_and_of_dates(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    frame = pd.DataFrame({"a": source.choice([*"xyz"], 100), "b": source.random(100) < 0.3})
    run = _run(tmp_path, frame, steps=20)
    text = _text(run)
    assert headings(text)[:3] == ["Results", "Categories", "Ranks"]
    assert "categorical, 3 categories" in text
    days = pd.DataFrame({"day": pd.date_range("1999-12-31", periods=100).astype("datetime64[s]")})
    days.to_parquet(tmp_path / "days.parquet")
    found = experiment.train(config(tmp_path / "days.parquet", steps=20), tmp_path / "days")
    shown = module.points(found)
    assert 1999.9 < shown.rows.min() < 2000.1
    assert "1999-12-31" in _text(found)
    assert found.density.sample(3, random_state=0)["day"].dtype == "datetime64[ms]"


@pytest.mark.parametrize("kind", ["time64[us]", "duration[us]"])
def test_times_of_the_day_are_shown_as_hours_and_durations_as_seconds(
    kind: str, tmp_path: Path
) -> None:
    # Steps of seven seconds have no parts.
    ticks = 7_000_000 * np.random.default_rng(0).integers(0, 12_000, 120)
    column = pa.array(ticks).cast(pa.time64("us") if kind[0] == "t" else pa.duration("us"))
    parquet.write_table(pa.table({"t": column}), tmp_path / "t.parquet")
    found = experiment.train(config(tmp_path / "t.parquet", steps=20), tmp_path / "run")
    shown = module.points(found)
    most = ticks.max() / 1e6 / (3600 if kind[0] == "t" else 1)
    assert shown.rows.max() == pytest.approx(most)
    assert shown.draws.max() <= 24 or kind[0] == "d"


def test_of_many_columns_a_few_are_shown(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    frame = pd.DataFrame(source.normal(size=(100, 9)), columns=list("abcdefghi"))
    run = _run(tmp_path, frame, steps=20)
    shown = module.points(run)
    assert shown.names == run.results.assessment.worst_columns[:6]


def test_histograms_of_ranks(trained: Run) -> None:
    found = trained.results.assessment
    panels = ranks.ranks(found.calibration, found.histograms, found.worst_columns)
    assert [panel.title for panel in panels] == found.worst_columns
    column = found.calibration.columns[0]
    low, high = ranks.band(column, 5)
    counts = np.random.default_rng(0).binomial(round(column.effective), 1 / 5, 20_000)
    inside = ((counts >= low) & (counts <= high)).mean()
    assert inside >= 0.985


@pytest.mark.parametrize(("rows", "bars"), [(18, 4), (79, 5), (80, 10), (160, 20), (2000, 20)])
def test_bars_are_of_enough_values(rows: int, bars: int) -> None:
    counts = np.bincount(np.arange(rows) % 20, minlength=20)
    found = ranks.merged(counts)
    assert len(found) == bars
    assert found.sum() == rows
    assert found[0] == counts[: 20 // bars].sum()


def test_curve_shows_what_matters(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that overfits, after a first evaluation far below."""
    bounds = [-900.0, -20.0, -12.0, -10.0, -11.0, -40.0, -700.0, -5000.0]
    rows = [
        {"step": 50 * i, "split": split, "bound": bound, "loss": -abs(bound)}
        for i, bound in enumerate(bounds)
        for split in ("train", "validation")
    ]
    monkeypatch.setattr("invflow.training.metrics.read", lambda directory: rows)
    low, high = view(lines(trained))
    assert -40 < low < -20
    assert -10 < high < 20


def test_curve_ends_where_the_training_does(trained: Run) -> None:
    found = lines(trained)
    assert list(found) == ["validation rows", "training rows"]
    assert found["validation rows"].steps == [*range(10, 70, 10)]
    assert found["validation rows"].values == [bound for _, bound in trained.density.curve_]
