"""The curves of a density's training and of a student's, drawn alike."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from invflow.report.density import curve
from invflow.report.student.write import curve as loss_curve


def _run() -> Any:
    return SimpleNamespace(directory=Path(), config=SimpleNamespace(missing="refuse"))


def _recorded(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    rows = [
        {"step": 50 * i, "split": split, "loss": loss, "bound": -loss}
        for i, loss in enumerate(losses)
        for split in ("train", "validation")
    ]
    monkeypatch.setattr("invflow.training.metrics.read", lambda directory: rows)


def test_values_against_steps() -> None:
    lines = {"aside": [(5, 1.0), (10, 2.0)], "learned": [(5, 3.0), (10, 4.0)]}
    axis = curve.steps(lines, "nats").axes[0]
    drawn = {line.get_label(): line for line in axis.get_lines()}
    assert {
        label: list(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for label, line in drawn.items()
    } == lines
    assert [line.get_linestyle() for line in drawn.values()] == ["-", ":"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("step", "nats")
    legend = axis.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == list(lines)


def test_both_are_drawn_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    _recorded(monkeypatch, [3.0, 2.0, 1.0])
    density, taught = curve.curve(_run()).axes[0], loss_curve(_run()).axes[0]
    assert [line.get_linestyle() for line in density.get_lines()] == ["-", ":"]
    assert [line.get_linestyle() for line in taught.get_lines()] == ["-", ":"]
    for mine, other in zip(density.get_lines(), taught.get_lines(), strict=True):
        assert list(mine.get_xdata()) == list(other.get_xdata()) == [0, 50, 100]
        assert list(mine.get_ydata()) == [-value for value in other.get_ydata()]
        assert mine.get_color() == other.get_color()
    assert (density.get_ylabel(), taught.get_ylabel()) == ("nats per row", "loss (nats)")


@pytest.mark.parametrize(("last", "scale"), [(0.01, "log"), (-0.01, "linear"), (0.0, "linear")])
def test_losses_above_zero_are_on_a_logarithmic_scale(
    monkeypatch: pytest.MonkeyPatch, last: float, scale: str
) -> None:
    _recorded(monkeypatch, [3.0, float("nan"), last])
    assert loss_curve(_run()).axes[0].get_yscale() == scale
