"""Densities of tables with copies: learned without them, drawn and scored with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density import FlowDensity

pytestmark = pytest.mark.filterwarnings("ignore:column '.*' is a copy of 'c'")
ROWS = 300
SOURCE = np.random.default_rng(0)
CELSIUS: Any = SOURCE.normal(15, 3, ROWS)
TABLE = pd.DataFrame(
    {
        "f": 32 + 1.8 * CELSIUS,
        "c": CELSIUS,
        "rain": 0.2 * CELSIUS + SOURCE.normal(size=ROWS),
        "k": (CELSIUS + 273.15).astype(np.float32),
    }
)[["c", "rain", "f", "k"]]
TABLE.index = pd.RangeIndex(7, 7 + ROWS)
GRID: Any = np.linspace(-25, 60, 1201)


def fitted(table: pd.DataFrame, missing: str, flow: str = "maf") -> FlowDensity:
    density = FlowDensity(flow, missing=missing, steps=150, ensemble=1, random_state=0)
    return density.fit(table)


@pytest.fixture(scope="module")
def density() -> FlowDensity:
    return fitted(TABLE, "marginalise")


def test_copies_add_nothing_where_they_agree(density: FlowDensity) -> None:
    alone = fitted(TABLE[["c", "rain"]], "marginalise")
    np.testing.assert_array_equal(
        density.score_samples(TABLE), alone.score_samples(TABLE[["c", "rain"]])
    )
    np.testing.assert_array_equal(density.reference_, alone.reference_)
    with pytest.warns(UserWarning, match=r"'f' is not 32 \+ 1.8 times c in 300 row.* most 1e-09"):
        wrong = density.score_samples(TABLE.assign(f=TABLE["f"] + 1e-9))
    assert np.isneginf(wrong).all()


def test_a_copy_stands_for_its_original_in_its_own_unit(density: FlowDensity) -> None:
    # Density of Fahrenheit and rain: integrates to one over these.
    rain = np.linspace(-12, 18, 301)
    f, r = np.meshgrid(32 + 1.8 * GRID, rain, indexing="ij")
    rows = pd.DataFrame({"c": np.nan, "rain": r.ravel(), "f": f.ravel(), "k": np.nan})
    p = np.exp(density.score_samples(rows)).reshape(f.shape)
    assert np.trapezoid(np.trapezoid(p, rain), f[:, 0]) == pytest.approx(1.0, abs=2e-3)
    whole = rows.assign(c=(rows["f"] - 32) / 1.8)
    other = density.score_samples(whole[:500]) - density.score_samples(rows[:500])
    np.testing.assert_allclose(other, np.log(1.8), atol=1e-9)


def test_draws_agree_and_have_the_types_of_the_table(density: FlowDensity) -> None:
    drawn = density.sample(500, random_state=0)
    assert drawn.dtypes.tolist() == TABLE.dtypes.tolist()
    assert list(drawn) == list(TABLE)
    np.testing.assert_allclose(drawn["f"], 32 + 1.8 * drawn["c"], rtol=1e-14)
    assert np.isfinite(density.score_samples(drawn)).all()


def test_gaps_are_filled_from_whatever_is_known(density: FlowDensity) -> None:
    gaps = TABLE[:40].copy()
    gaps.iloc[:10, 0] = gaps.iloc[5:20, 2] = gaps.iloc[5:30, 3] = np.nan
    for filled in (density.impute(gaps, random_state=0), density.expected(gaps, random_state=0)):
        pd.testing.assert_frame_equal(filled.where(gaps.notna()), gaps)
        known = [*range(5), *range(10, 40)]
        pd.testing.assert_frame_equal(filled.iloc[known], TABLE.iloc[known])
        np.testing.assert_allclose(filled["f"], 32 + 1.8 * filled["c"], rtol=1e-14)
        assert filled["c"].notna().all()


def test_learned_gaps_of_an_original_and_its_copy() -> None:
    table = TABLE[["c", "f"]].copy()
    random = np.random.default_rng(3)
    table.loc[random.random(ROWS) < 0.3, "c"] = np.nan
    table.loc[random.random(ROWS) < 0.4, "f"] = np.nan
    density = fitted(table, "learn", "gaussian")
    assert [column.name for column in density.columns_.features] == [
        "c (missing)",
        "c",
        "f (missing)",
    ]
    total = np.exp(density.score_samples(pd.DataFrame({"c": [np.nan], "f": [np.nan]})))[0]
    for rows, unit in [
        ({"c": GRID, "f": 32 + 1.8 * GRID}, GRID),
        ({"c": GRID, "f": np.nan}, GRID),
        ({"c": np.nan, "f": 32 + 1.8 * GRID}, 32 + 1.8 * GRID),
    ]:
        total += np.trapezoid(np.exp(density.score_samples(pd.DataFrame(rows))), unit)
    assert total == pytest.approx(1.0, abs=5e-3)  # the first is estimated
    drawn, gaps = density.sample(4000, random_state=0).isna(), table.isna()
    for own in ("c", "f"):
        assert drawn[own].mean() == pytest.approx(gaps[own].mean(), abs=0.06)
    assert (drawn["c"] & ~drawn["f"]).mean() > 0.1


def test_refused_gaps_and_lost_columns() -> None:
    density = fitted(TABLE, "refuse", "gaussian")
    with pytest.raises(ValueError, match="column 'f' has a missing value"):
        density.score_samples(TABLE.assign(f=np.nan))
    with pytest.raises(ValueError, match=r"has values that are not numbers, such as 'warm'"):
        density.score_samples(TABLE.assign(f="warm"))


def test_files_and_checks_know_copies(density: FlowDensity, tmp_path: Path) -> None:
    density.save(tmp_path / "run")
    again = FlowDensity.load(tmp_path / "run")
    np.testing.assert_array_equal(again.score_samples(TABLE), density.score_samples(TABLE))
    assert [column.name for column in density.calibrate(TABLE, random_state=0).columns] == [
        "c",
        "rain",
    ]
    assert not density.two_sample(TABLE, random_state=0).differs
