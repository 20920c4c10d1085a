"""The curves of a density's training and of a student's, drawn alike."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from invflow.report.density import curve
from invflow.report.student.write import lines as taught_lines
from invflow.report.student.write import scale


def _run() -> Any:
    return SimpleNamespace(directory=Path(), config=SimpleNamespace(missing="refuse"))


def _recorded(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    rows = [
        {"step": 50 * i, "split": split, "loss": loss, "bound": -loss}
        for i, loss in enumerate(losses)
        for split in ("train", "validation")
    ]
    monkeypatch.setattr("invflow.training.metrics.read", lambda directory: rows)


def test_training_is_dotted_and_of_the_same_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    _recorded(monkeypatch, [3.0, 2.0, 1.0])
    density, taught = curve.lines(_run()), taught_lines(_run())
    assert list(density) == ["validation rows", "training rows"]
    assert list(taught) == ["validation", "train"]
    for mine, other in zip(density.values(), taught.values(), strict=True):
        assert list(mine.steps) == list(other.steps) == [0, 50, 100]
        assert list(mine.values) == [-value for value in other.values]
        assert (mine.colour(0), mine.style) == (other.colour(0), other.style)
    assert [line.style for line in density.values()] == ["-", ":"]
    assert [line.colour(i) for i, line in enumerate(density.values())] == [0, 0]


@pytest.mark.parametrize(("last", "expected"), [(0.01, "log"), (-0.01, "linear"), (0.0, "linear")])
def test_losses_above_zero_are_on_a_logarithmic_scale(
    monkeypatch: pytest.MonkeyPatch, last: float, expected: str
) -> None:
    _recorded(monkeypatch, [3.0, float("nan"), last])
    assert scale(taught_lines(_run())) == expected
