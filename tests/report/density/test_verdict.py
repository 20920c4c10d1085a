"""What a page says of a density before all else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from invflow.density import FlowDensity
from invflow.density.assess import Assessment, assess
from invflow.density.table import Frame
from invflow.report.density.verdict import verdict


def _table(rows: int, seed: int, spread: float = 1.0) -> Frame:
    source = np.random.default_rng(seed)
    a = source.normal(size=rows)
    return Frame(pd.DataFrame({"a": a, "b": spread * (0.8 * a + 0.6 * source.normal(size=rows))}))


@pytest.fixture(scope="module")
def density() -> FlowDensity:
    fitted = FlowDensity("gaussian", steps=300, learning_rate=0.02, random_state=0)
    return fitted.learn(_table(3000, 0))


@pytest.fixture(scope="module")
def right(density: FlowDensity) -> Assessment:
    return assess(density, _table(600, 1))


def test_a_right_density_is_good(right: Assessment) -> None:
    found = verdict(right)
    assert found.level == "good"
    assert any("All 3 calibration tests pass" in point for point in found.points)
    assert any("cannot tell test rows from draws" in point for point in found.points)
    assert any("finds no difference" in point for point in found.points)


def test_a_wrong_density_is_bad(density: FlowDensity) -> None:
    found = verdict(assess(density, _table(600, 1, spread=3.0)))
    assert found.level == "bad"
    assert any("Calibration tests fail for b" in point for point in found.points)
    assert any("A classifier tells test rows from draws" in point for point in found.points)
    assert any("--steps" in point for point in found.points)


def test_a_density_that_is_a_little_wrong_is_usable(density: FlowDensity) -> None:
    found = verdict(assess(density, _table(600, 1, spread=1.2)))
    assert (found.level, "tests find differences" in found.headline) == ("usable", True)


def test_few_rows_are_not_enough_to_be_good(density: FlowDensity) -> None:
    found = verdict(assess(density, _table(40, 1)))
    assert (found.level, "on few test rows" in found.headline) == ("usable", True)
    assert any("Only 40 test rows were compared" in point for point in found.points)


def test_rows_of_density_zero_are_bad(right: Assessment) -> None:
    found = verdict(replace(right, outside=2))
    assert found.level == "bad"
    assert "2 of 600 test rows have density zero" in found.points[0]
