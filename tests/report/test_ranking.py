"""Which of several runs is ahead."""

from __future__ import annotations

import math

import pytest

from invflow.report.comparison import Outcome
from invflow.report.page import Verdict
from invflow.report.ranking import Differences, clear, leader

#: Scores of runs by label, and the error of each difference.
ERROR = 0.1


def _outcome(label: str, value: float, *, name: str = "", seed: int = 0, steps: int = 0) -> Outcome:
    return Outcome(label, name, seed, {"steps": steps}, {"score": value})


def _better(mine: Outcome, others: Outcome) -> Differences:
    return {"score": (mine.values["score"] - others.values["score"], ERROR)}


def _lead(*outcomes: Outcome) -> Verdict:
    found = leader(outcomes, _better, "score")
    assert found is not None
    return found


def test_who_is_ahead() -> None:
    found = _lead(
        _outcome("a", 1.0, steps=1), _outcome("b", 3.0, steps=2), _outcome("c", 2.0, steps=3)
    )
    assert found.level == "clear"
    assert found.headline == "b is ahead of c by 1.00 ± 0.10 in score (nats)."
    assert found.points == [
        "b against a: +2.00 ± 0.10 in score.",
        "The errors do not cover what another seed would change.",
    ]


@pytest.mark.parametrize(("gain", "level"), [(0.29, "unclear"), (0.31, "clear")])
def test_three_standard_errors(gain: float, level: str) -> None:
    found = _lead(_outcome("a", gain, steps=1), _outcome("b", 0.0, steps=2))
    assert found.level == level


def test_nothing_is_clear() -> None:
    found = _lead(
        _outcome("a", 0.0, steps=1), _outcome("b", 5.0, steps=2), _outcome("c", 4.9, steps=3)
    )
    assert found.headline == (
        "Nothing is clearly ahead. b comes first, but is not 3 standard errors ahead of c in score."
    )
    assert found.points[:2] == [
        "b against c: +0.10 ± 0.10 in score.",
        "b against a: +5.00 ± 0.10 in score.",
    ]


def test_all_measures_must_be_ahead() -> None:
    assert clear({"bound": (1.0, 0.1), "log-likelihood": (0.5, 0.1)})
    assert not clear({"bound": (1.0, 0.1), "log-likelihood": (-0.5, 0.1)})


def test_seeds_are_taken_together() -> None:
    """A seed moves both by 10; their differences are 1, 2 and 3."""
    values = [(s, 10.0 * s, 10.0 * s + 1.0 + s) for s in range(3)]
    found = _lead(
        *(_outcome(f"a{s}", low, seed=s, steps=1) for s, low, _ in values),
        *(_outcome(f"b{s}", high, seed=s, steps=2) for s, _, high in values),
    )
    error = math.hypot(ERROR, 1 / math.sqrt(3))
    assert found.headline == (
        f"b0 (3 seeds) is ahead of a0 (3 seeds) by 2.00 ± {error:.2f} in score (nats)."
    )
    assert "the errors cover seeds too" in found.points[-1]
    assert "fewer than 3 seeds" not in found.points[-1]


def test_an_unsteady_gain_is_not_clear() -> None:
    """Each run is far ahead or far behind, image by image, but not over seeds."""
    found = _lead(
        *(_outcome(f"a{s}", 0.0, seed=s, steps=1) for s in (0, 1)),
        *(_outcome(f"b{s}", gain, seed=s, steps=2) for s, gain in ((0, 5.0), (1, -3.0))),
    )
    assert found.level == "unclear"
    assert "With fewer than 3 seeds, the error over seeds is hardly known." in found.points[-1]


def test_other_seeds_of_one_run_are_no_rivals() -> None:
    assert leader([_outcome("a", 0.0), _outcome("b", 9.0, seed=1)], _better, "score") is None


def test_names_of_parts() -> None:
    parts = [_outcome("a", float(i), name=name) for i, name in enumerate(("full", "iaf"))]
    assert _lead(*parts).headline.startswith("iaf is ahead of full by")
    other = _outcome("b", 5.0, name="iaf", steps=9)
    assert _lead(*parts, other).headline.startswith("iaf of b is ahead of iaf of a by")


@pytest.mark.parametrize("order", ["cbd", "bcd", "dcb"])
def test_scores_of_minus_infinity_come_last(order: str) -> None:
    values = {"b": -math.inf, "c": 0.0, "d": 1.0}
    found = _lead(*(_outcome(k, values[k], steps=i) for i, k in enumerate(order)))
    assert found.headline.startswith("d is ahead of c by 1.00 ± 0.10")
    assert found.points[0] == "d against b: +inf ± nan in score."
