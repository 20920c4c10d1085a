"""What the comparisons of all kinds of runs share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from invflow.report import comparison
from invflow.report.comparison import Outcome


@dataclass(frozen=True)
class Run:
    directory: Path
    subject: str = ""


class Other(Run):
    pass


def _labels(*runs: Run) -> list[str]:
    return list(comparison.labelled(runs, lambda run: run.subject, "tables"))


def test_labels(tmp_path: Path) -> None:
    a, b, c = (Run(tmp_path / name) for name in ("x/run", "y/run", "y/other"))
    assert _labels(a, c) == ["run", "other"]
    assert _labels(a, b) == [str(a.directory), str(b.directory)]
    with pytest.raises(ValueError, match=r"runs must differ, got .*x/run twice"):
        _labels(a, c, a)
    with pytest.raises(ValueError, match="got none"):
        _labels()


def test_what_is_not_compared(tmp_path: Path) -> None:
    first = Run(tmp_path / "a")
    with pytest.raises(ValueError, match=r"/a and .*/b are runs on different tables and cannot"):
        _labels(first, Run(tmp_path / "b", "another"))
    with pytest.raises(ValueError, match=r"/a and .*/b are runs of different kinds and cannot"):
        _labels(first, Other(tmp_path / "b"))


def test_over_seeds() -> None:
    found = [
        Outcome(f"run-{seed}", "iaf", seed, {"steps": steps}, {"bound": bound, "more": 0.0})
        for seed, steps, bound in ((0, 5, -90.0), (1, 5, -84.0), (5, 5, -93.0), (2, 6, 0.0))
    ]
    # Of -90, -84 and -93 the mean is -89 and the sum of squares around it 1 + 25 + 16; their
    # standard error is sqrt(42 / 2 / 3) = 2.65.
    assert comparison.over_seeds(found, {"bound": ".2f"}) == [
        ("runs", "seeds", "bound"),
        ("iaf: run-0, run-1, run-5", "3", "-89.00 ± 2.65"),
    ]
    assert comparison.over_seeds([found[0], found[3], found[0]], {"bound": ".2f"}) == []


def test_a_mean_of_what_is_not_finite() -> None:
    found = [Outcome(str(i), "", i, {}, {"bound": -float("inf")}) for i in range(2)]
    assert comparison.over_seeds(found, {"bound": ".2f"})[1][2] == "-inf ± nan"


def test_settings_that_differ() -> None:
    first = {"likelihood": "logistic", "widths": (8, 4), "seed": 0}
    second = {"likelihood": "bernoulli", "widths": None, "seed": 0}
    assert comparison.differing({"a": first, "b": second}) == [
        ("setting", "a", "b"),
        ("likelihood", "logistic", "bernoulli"),
        ("widths", "8, 4", "default"),
    ]
    assert comparison.differing({"a": first}) == []
