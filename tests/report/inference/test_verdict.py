"""What the page says first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from invflow._uniformity import uniformity
from invflow.report.inference.verdict import verdict
from invflow.simulation import Distance
from invflow.simulation.run import Judged, Results


def _judged(coverage: float = 0.9, count: int = 500, **more: Any) -> Judged:
    values = (np.arange(count) + 0.5) / count
    error = (0.09 / count) ** 0.5
    known: dict[str, Any] = {
        "tests": (uniformity("a", values),),
        "histograms": {"a": [count // 20] * 20},
        "coverage": {0.9: coverage},
        "coverage_error": {0.9: error},
        "log_prob": -1.0,
        "log_prob_error": 0.1,
        "simulations": count,
        "rejected": [],
    }
    return Judged(**known | more)


def _results(**more: Any) -> Results:
    known: dict[str, Any] = {
        "distance": Distance(0.5),
        "judged": _judged(),
        "near": None,
        "verdict": None,
        "observed": [[0.0]],
        "learned": 1000,
        "dropped": 0,
        "seconds": 1.0,
    }
    return Results(**known | more)


@pytest.mark.parametrize(
    ("more", "level", "said"),
    [
        ({}, "good", "No test finds anything wrong"),
        ({"distance": Distance(0.001, 1.5, ("x = 9, not in [0, 1]",))}, "bad", "x = 9, not in"),
        ({"distance": Distance(0.02, 9.0)}, "bad", "9 times the largest among"),
        ({"judged": _judged(rejected=["a"])}, "usable", "ranks of a are not uniform"),
        ({"judged": _judged(0.84)}, "usable", "84.0%"),
        ({"judged": _judged(0.6)}, "bad", "60.0%"),
        ({"judged": _judged(count=60)}, "usable", "flaws may have gone unnoticed"),
        ({"near": _judged(0.6, 60)}, "bad", "that are most like the observed data"),
        ({"dropped": 3}, "good", "3 simulations with missing or infinite numbers"),
    ],
)
def test_each_finding_has_its_level(more: dict[str, Any], level: str, said: str) -> None:
    found = verdict(_results(**more))
    assert found.level == level
    assert said in " ".join([found.headline, *found.points])


def test_results_are_the_same_from_json() -> None:
    found = _results(near=_judged(0.8, 100))
    assert Results.model_validate_json(found.model_dump_json()) == found
