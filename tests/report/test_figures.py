"""What the figures of all pages share."""

from __future__ import annotations

import numpy as np
import pytest

from invflow.report import figures
from invflow.report.figures import Curve


def test_curves_over_steps_and_over_seconds() -> None:
    rows = [
        {"step": 10, "split": "train", "seconds": 2.5},
        {"step": 10, "split": "validation", "bound": -98.0},
        {"step": 20, "split": "train", "seconds": 5.0},
        {"step": 20, "split": "validation", "bound": -94.0},
    ]
    found = figures.evaluations(rows, "bound")
    assert found == Curve([10, 20], [2.5, 5.0], [-98.0, -94.0])
    steps, seconds = figures.curves({"a": found, "b": found}, "nats")
    assert list(steps.figure.axes[0].get_lines()[1].get_xdata()) == [10, 20]
    assert list(seconds.figure.axes[0].get_lines()[1].get_xdata()) == [2.5, 5.0]
    assert steps.alt == "Curves of nats against step: a, b."
    for panel in (steps, seconds):
        (legend,) = panel.figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    (without,) = figures.curves({"a": found, "b": Curve([1], (), [0.0])}, "nats")
    assert without.figure.axes[0].get_xlabel() == "step"


def test_a_chart_has_the_same_lines() -> None:
    lines = {"a": Curve([1, 2], (), [0.5, float("nan")]), "b": Curve([1], (), [2.0], 0, ":")}
    assert figures.chart(lines, "nats").data == {
        "kind": "lines",
        "x": "step",
        "y": "nats",
        "lines": [
            {"label": "a", "x": [1, 2], "y": [0.5, None], "colour": 0, "dash": []},
            {"label": "b", "x": [1], "y": [2.0], "colour": 0, "dash": [2, 3]},
        ],
    }


def test_columns_to_zoom_into() -> None:
    rows = np.array([[0.0, 1.23456789], [np.nan, 2.0]])
    data = figures.closer(["a", 1], {"rows": rows, "draws": rows[:1]}).data
    assert data["names"] == ["a", "1"]
    assert data["samples"][0]["columns"] == [[0.0, None], [1.2346, 2.0]]
    assert data["samples"][1] == {"label": "draws", "colour": 1, "columns": [[0.0], [1.2346]]}


def test_many_curves_differ() -> None:
    lines = {str(i): Curve([0], [0.0], [0.0]) for i in range(25)}
    axis = figures.curves(lines, "nats")[0].figure.axes[0]
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.get_lines()}) == 25


def test_one_sample_below_the_diagonal_and_another_above() -> None:
    first = np.array([[0.0, 1.5], [1.0, np.nan], [2.0, 3.5]])
    second = np.array([[9.0, 2.5], [1.0, 2.0]])
    axes = figures.pairs(["a", "b"], first, second).figure.axes
    np.testing.assert_array_equal(axes[2].get_lines()[0].get_xdata(), first[:, 0])
    np.testing.assert_array_equal(axes[2].get_lines()[0].get_ydata(), first[:, 1])
    np.testing.assert_array_equal(axes[1].get_lines()[0].get_ydata(), second[:, 0])
    # The first sample has the range 0 to 2, and a margin of 12%.
    assert axes[2].get_xlim() == pytest.approx((-0.24, 2.24))
    alone = figures.pairs(["a", "b"], first).figure.axes
    assert not alone[1].axison
    assert figures.limits(np.ones((3, 1))) == [(0.5, 1.5)]
