"""Columns of all kinds in the estimator and in runs, against what is known of them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from invflow.density import FlowDensity, experiment
from tests.density.estimators import small
from tests.density.runs import config, written

COUNT = 3000
#: Three kinds of fish: how common they are, their mean length, and the fraction of each that swims.
SHARES, MEANS, SWIM = np.array([0.5, 0.3, 0.2]), np.array([10.0, 14.0, 20.0]), [0.9, 0.5, 0.1]
KINDS = ["carp", "eel", "pike"]


def fish(count: int, seed: int) -> pd.DataFrame:
    source = np.random.default_rng(seed)
    kind = source.choice(3, count, p=SHARES)
    return pd.DataFrame(
        {
            "length": source.normal(MEANS[kind], 1.5),
            "kind": np.array(KINDS)[kind],
            "swims": source.random(count) < np.array(SWIM)[kind],
        }
    )


def log_density(table: pd.DataFrame) -> Any:
    kind = table["kind"].map(dict(zip(KINDS, range(3), strict=True))).to_numpy()
    swims = np.array(SWIM)[kind]
    return (
        np.log(SHARES[kind])
        + np.log(np.where(table["swims"], swims, 1 - swims))
        + stats.norm.logpdf(table["length"], MEANS[kind], 1.5)
    )


@pytest.fixture(scope="module")
def density() -> FlowDensity:
    return FlowDensity(
        "maf",
        transforms=1,
        hidden_features=(16,),
        steps=200,
        learning_rate=1e-2,
        missing="marginalise",
        random_state=0,
    ).fit(fish(COUNT, 1))


def test_the_truth_is_found(density: FlowDensity) -> None:
    test = fish(COUNT, 2)
    difference = log_density(test) - density.score_samples(test)
    error = difference.std() / np.sqrt(COUNT)
    assert -4 * error < difference.mean() < 0.04


def test_a_category_given_a_number_is_by_bayes(density: FlowDensity) -> None:
    lengths = np.array([9.0, 12.0, 16.5, 22.0])
    given = pd.DataFrame({"length": lengths})
    scores = [
        density.score_samples(given.assign(kind=kind, swims=None).astype({"swims": "boolean"}))
        for kind in KINDS
    ]
    found = np.exp(scores - np.logaddexp.reduce(scores, 0))
    true = SHARES[:, None] * stats.norm.pdf(lengths, MEANS[:, None], 1.5)
    np.testing.assert_allclose(found, true / true.sum(0), atol=0.08)
    drawn = density.sample_conditional(
        given.assign(kind=None, swims=None).astype({"swims": "boolean"}), 400, random_state=0
    )
    eels = (drawn["kind"] == "eel").to_numpy().reshape(400, 4).mean(0)
    np.testing.assert_allclose(eels, (true / true.sum(0))[1], atol=0.1)


def test_draws_are_like_the_table(density: FlowDensity) -> None:
    table, drawn = fish(COUNT, 3), density.sample(COUNT, random_state=0)
    assert drawn.dtypes.tolist() == table.dtypes.tolist()
    assert set(drawn["kind"]) == set(KINDS)
    for kind, share, mean, swims in zip(KINDS, SHARES, MEANS, SWIM, strict=True):
        own = drawn[drawn["kind"] == kind]
        assert len(own) / COUNT == pytest.approx(share, abs=0.04)
        assert own["length"].mean() == pytest.approx(mean, abs=0.4)
        assert own["swims"].mean() == pytest.approx(swims, abs=0.1)
    assert density.calibrate(table, random_state=0).rejected == []
    assert not density.two_sample(table[:500], random_state=0).differs
    noise = density.noise(table)
    np.testing.assert_allclose(noise.mean(0), 0, atol=0.1)
    np.testing.assert_allclose(noise.std(0), 1, atol=0.1)


def test_never_seen_is_improbable_and_not_impossible(density: FlowDensity) -> None:
    table = fish(50, 4).assign(kind="shark")
    scores = density.score_samples(table)
    assert np.isfinite(scores).all()
    assert (scores < density.score_samples(fish(50, 4))).all()
    # Good's estimate for as many values, of which each was seen often: 1 / (n + 2), halved.
    column = density.columns_.features[1]
    assert density.model_.categories is not None
    share = density.model_.categories.shares[0][1]
    assert share == pytest.approx(0.5 / (sum(column.counts) + 2))


def test_filled_gaps_of_all_kinds(density: FlowDensity) -> None:
    table, source = fish(200, 5), np.random.default_rng(0)
    gaps = table.astype({"swims": object}).mask(source.random(table.shape) < 0.4)
    filled = density.impute(gaps, random_state=0)
    assert filled.notna().all().all()
    assert filled.dtypes.tolist() == table.dtypes.tolist()
    known = gaps.notna().to_numpy()
    assert (filled.to_numpy()[known] == table.to_numpy()[known]).all()
    right = (filled["kind"] == table["kind"])[gaps["kind"].isna()]
    assert right.mean() > 0.5


def everything(count: int = 120) -> pd.DataFrame:
    source = np.random.default_rng(0)
    day = pd.Series(pd.date_range("2020-01-01", periods=count))
    table = pd.DataFrame(
        {
            "price": np.round(source.lognormal(2, 0.5, count), 2),
            "size": pd.Categorical(
                source.choice(["s", "m", "l"], count), ["s", "m", "l"], ordered=True
            ),
            "day": day.sample(frac=1, random_state=0).to_numpy(),
            "when": day.dt.date.sample(frac=1, random_state=1).to_numpy(),
            "paid": source.random(count) < 0.7,
            "visits": source.poisson(1, count),
            "note": source.choice(["a", "b"], count),
            "exact": source.normal(size=count),
        }
    )
    gap = source.random(table.shape) < 0.1
    return table.astype({"paid": "boolean", "visits": "Int64"}).mask(gap)


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_a_table_of_all_kinds(precision: str, tmp_path: Path) -> None:
    table = everything()
    density = small(missing="marginalise", precision=precision, kinds={"when": "date"}).fit(table)
    kinds = {column.name: column.kind for column in density.columns_.features}
    assert kinds == {
        "price": "grid",
        "size": "ordinal",
        "day (week)": "integer",
        "day (weekday)": "categorical",
        "when": "date",
        "paid": "categorical",
        "visits": "integer",
        "note": "categorical",
        "exact": "continuous",
    }
    scores = density.score_samples(table)
    assert np.isfinite(scores).all()
    drawn = density.sample(50, random_state=0)
    filled = density.impute(table, random_state=0)
    for rows in (drawn, filled):
        assert list(rows.columns) == list(table.columns)
        assert rows.dtypes.tolist() == table.dtypes.tolist()
        assert rows.notna().all().all()
        np.testing.assert_array_equal(rows["price"], np.round(rows["price"], 2))
        assert (rows["day"].dt.normalize() == rows["day"]).all()
        assert all(type(value) is datetime.date for value in rows["when"])
        assert (rows["visits"] >= 0).all()
    density.save(tmp_path)
    again = FlowDensity.load(tmp_path)
    assert np.array_equal(again.score_samples(table), scores)
    pd.testing.assert_frame_equal(again.sample(50, random_state=0), drawn)


@pytest.mark.parametrize(
    "table",
    [
        {"a": ["x", "y", "x", "x"] * 10},
        {"a": [True, False, False, False] * 10},
        {"a": ["x", "y", "x", "x"] * 10, "b": ["u", "u", "v", "w"] * 10},
    ],
    ids=["one category", "one boolean", "categories alone"],
)
def test_small_tables(table: Any) -> None:
    frame = pd.DataFrame(table)
    density = small(steps=60, learning_rate=0.02).fit(frame)
    levels = [pd.unique(frame[name]) for name in frame]
    every = pd.DataFrame(
        np.stack(np.meshgrid(*levels, indexing="ij"), -1).reshape(-1, len(levels)),
        columns=list(frame),
    ).astype(frame.dtypes)
    assert 0.9 < np.exp(density.score_samples(every)).sum() < 1 + 1e-9
    drawn = density.sample(30, random_state=0)
    assert drawn.dtypes.tolist() == frame.dtypes.tolist()


def orders(count: int = 1500) -> pd.DataFrame:
    """Return orders at office hours of working days, larger ones on Fridays."""
    source = np.random.default_rng(0)
    hours = pd.Series(pd.date_range("2024-01-01", periods=24 * 120, freq="h"))
    office = hours[(hours.dt.day_of_week < 5) & hours.dt.hour.between(9, 16)]
    times = office.sample(count, replace=True, random_state=0).reset_index(drop=True)
    amount = source.normal(10.0 * (times.dt.day_of_week == 4), 1.0)
    return pd.DataFrame({"time": times, "amount": amount})


def test_draws_know_the_hours_and_the_days() -> None:
    table = orders()
    density = small(steps=200, learning_rate=0.01).fit(table)
    drawn = density.sample(600, random_state=0)
    assert drawn.dtypes.tolist() == table.dtypes.tolist()
    assert set(drawn["time"].dt.hour) == set(range(9, 17))
    assert (drawn["time"].dt.day_of_week < 5).all()
    friday = drawn["time"].dt.day_of_week == 4
    assert friday.mean() == pytest.approx(0.2, abs=0.06)
    assert drawn["amount"][friday].mean() == pytest.approx(10, abs=1)
    assert drawn["amount"][~friday].mean() == pytest.approx(0, abs=1)
    sunday = table[:50].assign(time=table["time"][:50] + pd.Timedelta(days=2))
    assert density.score(sunday) < density.score(table[:50]) - 0.5


def test_what_is_given_a_date() -> None:
    table = orders()
    density = small(conditional_on=["time"], steps=200, learning_rate=0.01).fit(table)
    assert density.columns_.given == ("time",)
    fridays = pd.DataFrame({"time": pd.to_datetime(["2024-03-01 10:00", "2024-03-05 10:00"])})
    drawn = density.sample(200, given=fridays.iloc[[0] * 100 + [1] * 100], random_state=0)
    assert drawn.dtypes.tolist() == table.dtypes.tolist()
    assert drawn["amount"][:100].mean() == pytest.approx(10, abs=2)
    assert drawn["amount"][100:].mean() == pytest.approx(0, abs=2)
    sunday = pd.DataFrame({"time": pd.to_datetime(["2024-03-03 10:00"])})
    with pytest.raises(
        ValueError, match="column 'time' has the category '2024-03-03 10:00:00', wh"
    ):
        density.sample(1, given=sunday)


def test_probabilities_of_dates_sum_to_one() -> None:
    days = pd.Series(pd.date_range("2024-01-01", periods=200))
    density = small(steps=20).fit(pd.DataFrame({"day": days}))
    assert len(density.columns_.features) == 2
    every = pd.DataFrame({"day": pd.date_range("2015-01-01", "2035-12-31")})
    total = np.exp(density.score_samples(every)).sum()
    # All seven days of the week were seen often; the rest is for days that were not.
    assert density.model_.categories is not None
    seen = float(density.model_.categories.seen)
    assert total == pytest.approx(seen, abs=2e-3)


def test_one_column_on_a_grid() -> None:
    values = np.array([0.25, 0.5, 3.0, 0.75] * 10)[:, None]
    density = small(steps=20).fit(values)
    assert density.columns_.features[0].step == 0.25
    axis = np.arange(-400, 400)[:, None] / 4
    assert np.exp(density.score_samples(axis)).sum() == pytest.approx(1, abs=0.01)
    drawn = density.sample(30, random_state=0)
    assert (drawn % 0.25 == 0).all()


def test_categories_given_categories() -> None:
    table = fish(400, 6)
    density = small(conditional_on=["swims"], steps=60, learning_rate=0.02).fit(table)
    drawn = density.sample(20, given={"swims": True}, random_state=0)
    assert drawn["swims"].all()
    both = [density.score_samples(table.assign(swims=value)) for value in (True, False)]
    assert (both[0] != both[1]).all()


def test_a_run_resumes_to_the_same_density(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(written(fish(200, 7), tmp_path / "fish.csv"), missing="marginalise", steps=40)
    whole = experiment.train(asked, tmp_path / "whole")

    def stop(step: int, line: str) -> None:
        if step == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment.train(asked, tmp_path / "cut", report=stop)
    resumed = experiment.train(asked, tmp_path / "cut")
    assert resumed.results.assessment.log_density == whole.results.assessment.log_density
    table = fish(20, 8)
    assert np.array_equal(resumed.density.score_samples(table), whole.density.score_samples(table))


def test_copies_of_a_category_do_no_harm() -> None:
    table = fish(300, 9)
    density = small(steps=60, learning_rate=0.02).fit(table.assign(same=table["kind"]))
    drawn = density.sample(200, random_state=0)
    assert (drawn["kind"] == drawn["same"]).mean() > 0.5
