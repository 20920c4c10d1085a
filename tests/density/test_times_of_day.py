"""Times of the day: probabilities of a day's minutes, and draws that end before midnight."""

from __future__ import annotations

from datetime import UTC, date, time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from invflow.density import FlowDensity, experiment
from invflow.density.table import Column, Frame, read, survey, write
from tests.density.estimators import small
from tests.density.runs import config

COUNT = 300
EVERY_MINUTE = [time(minute // 60, minute % 60) for minute in range(24 * 60)]


def late(count: int = COUNT, step: int = 1) -> pd.DataFrame:
    """Return minutes of the last hours of the day, most of them just before midnight."""
    source = np.random.default_rng(0)
    before = np.minimum(source.exponential(20, count).astype(int), 300) // step * step
    minutes = 24 * 60 - step - before
    return pd.DataFrame({"t": [time(minute // 60, minute % 60) for minute in minutes]})


def test_probabilities_of_the_minutes_of_the_day_sum_to_one() -> None:
    density = small(steps=60).fit(late())
    (column,) = density.columns_.features
    assert (column.low, column.high, column.step) == (0, 24 * 3600 - 60, 60)
    total = np.exp(density.score_samples(pd.DataFrame({"t": EVERY_MINUTE}))).sum()
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("step", [1, 30, 60])
def test_draws_are_times_of_the_same_day(step: int, tmp_path: Path) -> None:
    table = late(step=step).assign(x=np.random.default_rng(1).normal(size=COUNT))
    table.loc[[3, 8], "t"] = None
    density = small(steps=20, missing="marginalise").fit(table)
    density.save(tmp_path)
    for each in (density, FlowDensity.load(tmp_path)):
        drawn = each.sample(500, random_state=0)
        assert all(type(value) is time for value in drawn["t"])
        assert {value.minute % step for value in drawn["t"]} == {0}
        assert drawn["t"].min() < time(23)
    filled = density.expected(table, random_state=0)
    assert all(type(value) is time for value in filled["t"])
    assert filled["t"].drop([3, 8]).equals(table["t"].drop([3, 8]))


@pytest.mark.parametrize(
    "kind", [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]
)
def test_times_of_arrow(kind: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=COUNT)
    table = pa.table({"t": pa.array(late()["t"]).cast(kind), "x": x})
    density = small(steps=5).fit(table)
    assert density.sample(300, random_state=0).schema.field("t").type == kind
    drawn = density.sample(300, random_state=0).column("t").cast(pa.time64("us"))
    assert max(drawn.cast(pa.int64()).to_pylist()) < 24 * 3600 * 1_000_000
    pandas = late().assign(x=x)
    np.testing.assert_array_equal(density.score_samples(table), density.score_samples(pandas))


@pytest.mark.parametrize("form", ["%H:%M", "%I:%M %p"])
def test_times_in_text(form: str, tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    text = [each.strftime(form) for each in late()["t"]]
    pd.DataFrame({"t": text, "x": np.arange(COUNT) ** 1.5}).to_csv(path, index=False)
    with pytest.warns(UserWarning, match=f"read as: t as {form}"):
        run = experiment.train(config(path, steps=5), tmp_path / "run")
    drawn = run.density.sample(200, random_state=0)
    assert all(type(value) is time for value in drawn["t"])
    source = read(path)
    write(drawn, tmp_path / "drawn.csv", source.dialect)
    shown = pd.read_csv(tmp_path / "drawn.csv")["t"]
    assert pd.to_datetime(shown, format=form).dt.time.tolist() == drawn["t"].tolist()


def test_a_density_given_times_of_the_day() -> None:
    x = np.random.default_rng(1).normal(size=COUNT)
    density = small(steps=5, conditional_on=["t"]).fit(late().assign(x=x))
    drawn = density.sample(2, given=pd.DataFrame({"t": [time(23, 59), time(22, 7)]}))
    assert drawn["t"].tolist() == [time(23, 59), time(22, 7)]


@pytest.mark.parametrize("values", [[time(9), time(12)], [date(2024, 1, 2), date(2024, 5, 6)]])
def test_dates_and_times_as_categories(values: list[Any]) -> None:
    table = pd.DataFrame({"t": values * 30})
    density = small(steps=20, kinds={"t": "categorical"}).fit(table)
    assert set(density.sample(50, random_state=0)["t"]) == set(values)
    assert np.exp(density.score_samples(table[:2])).sum() == pytest.approx(1, abs=0.05)
    content = density.columns_.features[0].to_dict()
    assert Column.from_dict(content) == density.columns_.features[0]
    with pytest.raises(ValueError, match="column 't' must have ISO 8601 texts as categories"):
        Column.from_dict({**content, "categories": ["noon", "dusk"]})


def test_days_that_are_objects() -> None:
    days = pd.Series(pd.date_range("2020-01-01", periods=400)).dt.date
    density = small(steps=5).fit(pd.DataFrame({"t": days}))
    assert len(density.columns_.features) > 1
    assert set(map(type, density.sample(50, random_state=0)["t"])) == {date}


def test_a_constant_time_of_the_day() -> None:
    with pytest.warns(UserWarning, match=r"column 't' is constant \(12:00:00\)"):
        columns = survey(Frame(pd.DataFrame({"t": [time(12)] * 3, "x": [1.5, 2.5, 7.0]})))
    assert columns.features[0].kind == "categorical"


def test_times_with_zones_are_refused() -> None:
    times = [time(hour, tzinfo=UTC) for hour in (9, 12, 15)] * 20
    with pytest.raises(ValueError, match=r"must not have a time zone, got 09:00:00\+00:00"):
        small().fit(pd.DataFrame({"t": times}))
