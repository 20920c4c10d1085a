"""Missing values learned as they are missing: probabilities add up, and draws have gaps."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density import FlowDensity

ROWS = 600


def table() -> pd.DataFrame:
    """A number that is missing in half of the rows of one kind, and a category with gaps."""
    random = np.random.default_rng(0)
    kind = random.choice(["u", "v"], ROWS)
    x = random.normal(size=ROWS) + 3 * (kind == "u")
    x[(kind == "u") & (random.random(ROWS) < 0.5)] = np.nan
    size = random.choice(["s", "m"], ROWS).astype(object)
    size[random.random(ROWS) < 0.2] = None
    return pd.DataFrame({"x": x, "kind": kind, "size": size})


@pytest.fixture(scope="module")
def learned() -> FlowDensity:
    return FlowDensity("maf", missing="learn", steps=600, random_state=0).fit(table())


def test_gaps_are_categories_of_columns_that_have_any(learned: FlowDensity) -> None:
    names = [column.name for column in learned.columns_.features]
    assert names == ["x (missing)", "x", "kind", "size (missing)", "size"]
    assert learned.columns_.gaps == {1: [0], 4: [3]}
    assert learned.columns_.features[0].counts[1] > 100


def test_draws_have_gaps_as_the_table_has_them(learned: FlowDensity) -> None:
    rows, drawn = table(), learned.sample(4000, random_state=0)
    assert drawn.dtypes.tolist() == rows.dtypes.tolist()
    for kind, own in rows.groupby("kind"):
        share = drawn[drawn["kind"] == kind]["x"].isna().mean()
        assert share == pytest.approx(own["x"].isna().mean(), abs=0.06)
    assert drawn["size"].isna().mean() == pytest.approx(rows["size"].isna().mean(), abs=0.06)
    seen = drawn[drawn["kind"] == "u"]["x"].mean()
    assert seen == pytest.approx(3.0, abs=0.4)


def test_probabilities_of_categories_and_gaps_add_up_to_one() -> None:
    rows = table()[["kind", "size"]]
    rows.loc[::7, "kind"] = None
    density = FlowDensity("gaussian", missing="learn", steps=20, random_state=0).fit(rows)
    every = product(["u", "v", "another", None], ["s", "m", "another", None])
    whole = pd.DataFrame(every, columns=["kind", "size"])
    assert np.exp(density.score_samples(whole)).sum() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.filterwarnings("ignore:.*none of its 2001 values")
def test_densities_and_probabilities_of_gaps_add_up_to_one(learned: FlowDensity) -> None:
    grid, total = np.linspace(-20, 20, 2001), 0.0
    for kind, size in product(["u", "v", "another"], ["s", "m", "another", None]):
        rows = pd.DataFrame({"x": grid, "kind": kind})
        rows["size"] = pd.Series([size] * len(grid), dtype=object)
        total += np.trapezoid(np.exp(learned.score_samples(rows)), grid)
        total += np.exp(learned.score_samples(rows[:1].assign(x=np.nan)))[0]
    assert total == pytest.approx(1.0, abs=1e-3)


def test_gaps_are_filled_as_if_their_values_had_been_there(learned: FlowDensity) -> None:
    rows = table()
    filled = learned.impute(rows, random_state=0)
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled.where(rows.notna()), rows.where(rows.notna()))
    gaps = rows["x"].isna()
    assert filled.loc[gaps, "x"].mean() == pytest.approx(3.0, abs=0.5)
    assert learned.expected(rows[:50], random_state=0).notna().all().all()


def test_checks_and_files_know_gaps(learned: FlowDensity, tmp_path: Path) -> None:
    rows = table()
    assert learned.calibrate(rows, random_state=0).rejected == []
    assert not learned.two_sample(rows, random_state=0).differs
    learned.save(tmp_path / "run")
    again = FlowDensity.load(tmp_path / "run")
    np.testing.assert_array_equal(again.score_samples(rows[:40]), learned.score_samples(rows[:40]))
    assert again.columns_ == learned.columns_


@pytest.mark.parametrize("days", [40, 900])
def test_gaps_of_dates_and_of_whole_numbers(days: int) -> None:
    random = np.random.default_rng(1)
    rows: Any = pd.DataFrame(
        {
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, days, 300), "D"),
            "n": pd.array(random.integers(0, 9, 300), dtype="Int64"),
        }
    )
    rows.loc[::3, "day"] = pd.NaT
    rows.loc[::5, "n"] = pd.NA
    density = FlowDensity("gaussian", missing="learn", steps=50, random_state=0).fit(rows)
    drawn = density.sample(500, random_state=0)
    assert drawn.dtypes.tolist() == rows.dtypes.tolist()
    assert 0.2 < drawn["day"].isna().mean() < 0.45
    assert 0.1 < drawn["n"].isna().mean() < 0.32
