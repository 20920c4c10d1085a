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
        ensemble=1,
        steps=200,
        learning_rate=1e-2,
        weight_decay=0.0,
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
    unknown = given.assign(swims=None).astype({"swims": "boolean"})
    found = density.probabilities(unknown, "kind")
    scores = [density.score_samples(_inserted(unknown, kind)) for kind in KINDS]
    np.testing.assert_allclose(found.T, np.exp(scores - np.logaddexp.reduce(scores, 0)), rtol=1e-6)
    true = SHARES[:, None] * stats.norm.pdf(lengths, MEANS[:, None], 1.5)
    np.testing.assert_allclose(found.T, true / true.sum(0), atol=0.08)
    drawn = density.sample_conditional(
        given.assign(kind=None, swims=None).astype({"swims": "boolean"}), 400, random_state=0
    )
    eels = (drawn["kind"] == "eel").to_numpy().reshape(400, 4).mean(0)
    np.testing.assert_allclose(eels, (true / true.sum(0))[1], atol=0.1)


def _inserted(rows: pd.DataFrame, kind: str) -> pd.DataFrame:
    rows = rows.copy()
    rows.insert(1, "kind", kind)
    return rows


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
    scores = np.concatenate([density.score_samples(table[i : i + 10]) for i in range(0, 50, 10)])
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


def test_scores_per_unit_do_not_depend_on_the_steps() -> None:
    """Rounded finely or coarsely, a normal column has the same mean density in a cell."""
    values = np.random.default_rng(0).normal(50, 2, (1500, 1))
    expected = stats.norm(50, 2).logpdf(values).mean()
    for digits in (0, 1, 2):
        rows = values.round(digits)
        density = FlowDensity("gaussian", steps=200, learning_rate=0.02, random_state=0).fit(rows)
        assert density.log_cell_ == pytest.approx(-digits * np.log(10))
        assert density.score(rows) - density.log_cell_ == pytest.approx(expected, abs=0.03)
    days = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=200), "x": values[:200, 0]})
    assert small(steps=1).fit(days).log_cell_ == pytest.approx(np.log(86_400))


def test_values_between_whole_numbers_are_scored_and_kept() -> None:
    source = np.random.default_rng(0)
    table = pd.DataFrame({"heat": source.integers(60, 90, 200) * 1.0, "n": source.poisson(3, 200)})
    density = small(missing="marginalise").fit(table)
    new = pd.DataFrame({"heat": [77.5, 77.0, np.nan], "n": [3.0, 3.0, 2.5]})
    between, on, _ = density.score_samples(new)
    assert between == on
    for filled in (density.impute(new, random_state=0), density.expected(new, random_state=0)):
        assert filled["heat"][:2].tolist() == [77.5, 77.0]
        assert filled["n"].tolist() == [3.0, 3.0, 2.5]


def test_categories_never_seen_stay_when_gaps_are_filled() -> None:
    density = small(missing="marginalise").fit(everything().dropna())
    new = everything().head(3).assign(note="never", exact=np.nan)
    filled = density.expected(new, random_state=0)
    assert filled["note"].tolist() == ["never"] * 3
    assert filled["exact"].notna().all()


def test_expectations_are_means_of_draws_and_the_most_probable_category(
    density: FlowDensity,
) -> None:
    gaps = pd.DataFrame(
        {
            "length": [np.nan, np.nan, 10.0, 19.0],
            "kind": ["carp", "pike", None, None],
            "swims": pd.Series([True, None, None, False], dtype=object),
        }
    )
    several = [density.expected(gaps, random_state=seed) for seed in range(10)]
    filled = several[0]
    draws = density.sample_conditional(gaps, 2000, random_state=1)
    means = draws["length"].to_numpy().reshape(2000, 4).mean(0)
    found = np.mean([each["length"] for each in several], 0)
    assert found == pytest.approx(means, abs=0.15)
    assert filled["kind"].tolist() == ["carp", "pike", "carp", "pike"]
    assert filled["swims"].tolist() == [True, False, True, False]
    assert filled.dtypes.tolist() == draws.dtypes.tolist()
    again = density.expected(gaps, random_state=0)
    pd.testing.assert_frame_equal(filled, again)


def test_expectations_are_nearer_to_the_truth_than_draws(density: FlowDensity) -> None:
    table = fish(300, 6)
    gaps = table.assign(length=np.nan)
    error = {
        name: ((filled["length"] - table["length"]) ** 2).mean()
        for name, filled in {
            "mean": density.expected(gaps, random_state=0),
            "draw": density.impute(gaps, random_state=0),
        }.items()
    }
    assert error["mean"] == pytest.approx(1.5**2, rel=0.2)
    assert error["draw"] == pytest.approx(2 * 1.5**2, rel=0.25)


def test_expectations_of_all_kinds_have_the_types_of_the_table() -> None:
    table = everything()
    density = small(missing="marginalise").fit(table)
    filled = density.expected(table, random_state=0)
    assert filled.notna().all().all()
    assert filled.dtypes.drop("visits").tolist() == density.sample(3).dtypes.drop("visits").tolist()
    known = table.notna().to_numpy()
    assert (filled.to_numpy()[known] == table.to_numpy()[known]).all()
    prices = filled["price"][table["price"].isna()]
    assert (prices != prices.round(2)).any()  # means lie between cents


@pytest.mark.parametrize("dtype", ["float64", "Int64"])
def test_only_dtypes_of_integers_round_means(dtype: str) -> None:
    count = np.random.default_rng(0).poisson(3, (200, 2))
    table = pd.DataFrame(count, columns=["a", "b"]).astype(dtype)
    density = small(missing="marginalise", steps=30).fit(table)
    filled = density.expected(table.head(2).assign(a=np.nan).astype(dtype), random_state=0)
    assert str(filled["a"].dtype) == dtype
    mean = filled["a"].astype(float)
    assert mean.between(1, 6).all()
    assert ((mean % 1 != 0) == (dtype == "float64")).all()


def test_the_expectation_of_a_date_is_near_the_middle_of_its_draws() -> None:
    when = pd.date_range("2021-01-01", periods=24 * 90, freq="h")
    table = pd.DataFrame({"when": when, "x": np.random.default_rng(0).normal(size=len(when))})
    density = small(missing="marginalise").fit(table)
    gap = table.head(1).assign(when=pd.NaT)
    filled = density.expected(gap, random_state=0)["when"].iloc[0]
    draws = density.sample_conditional(gap, 500, random_state=0)["when"]
    assert abs(filled - draws.mean()) < pd.Timedelta(days=7)
    assert filled == filled.round("h")


MOMENTS = {
    "dates": pd.Series(pd.date_range("2024-01-01", periods=60, freq="h")),
    "dates with a time zone": pd.Series(
        pd.date_range("2024-01-01", periods=60, freq="h", tz="Europe/Berlin")
    ),
    "times of the day": pd.Series([datetime.time(i % 24) for i in range(60)]),
    "durations": pd.Series(pd.to_timedelta(np.arange(60), "h")),
}


@pytest.mark.parametrize("learned", MOMENTS)
def test_other_times_than_in_training_are_refused(learned: str) -> None:
    density = small(missing="marginalise").fit(pd.DataFrame({"t": MOMENTS[learned]}))
    for name, given in MOMENTS.items():
        table = pd.DataFrame({"t": given})
        if name == learned:
            assert np.isfinite(density.score_samples(table)).all()
            continue
        message = f"column 't' has {name}, but had {learned} in training: give {learned}"
        with pytest.raises(ValueError, match=message):
            density.score_samples(table)
    gaps = pd.DataFrame({"t": pd.Series([None, None], dtype=object)})
    assert density.score_samples(gaps).tolist() == [0, 0]


def test_time_zones_are_converted() -> None:
    table = pd.DataFrame({"t": MOMENTS["dates with a time zone"]})
    density = small().fit(table)
    other = pd.DataFrame({"t": table["t"].dt.tz_convert("America/New_York")})
    np.testing.assert_array_equal(density.score_samples(other), density.score_samples(table))


@pytest.mark.parametrize("values", [["x", "y"], [1.5, 2.5], [True, False]])
def test_a_column_of_values_never_seen_is_warned_of(values: list[Any]) -> None:
    table = pd.DataFrame({"c": ["a", "b"] * 30})
    density = small().fit(table)
    other = pd.DataFrame({"c": values * 10})
    message = r"column 'c': none of its 20 values, such as .*, where they were 'a', 'b'"
    with pytest.warns(UserWarning, match=message):
        assert np.isfinite(density.score_samples(other)).all()
    density.score_samples(other[:19])
    density.score_samples(pd.concat([other, table[:1]]))
