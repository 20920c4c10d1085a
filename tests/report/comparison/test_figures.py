"""Training curves and samples of several runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from invflow.report.comparison import figures
from tests.report import runs


def test_bounds_over_steps_and_over_seconds(tmp_path: Path) -> None:
    made = {name: runs.run(tmp_path / name) for name in ("a", "b")}
    for run in made.values():
        runs.write(run)
    assert figures.progress(made["a"], "iaf") == ([10, 20], [2.5, 5.0], [-98.0, -94.0])
    figure = figures.curves(made)
    steps, seconds = figure.axes
    assert len(steps.get_lines()) == len(seconds.get_lines()) == 4
    assert list(steps.get_lines()[3].get_xdata()) == [10, 20]
    assert list(seconds.get_lines()[3].get_xdata()) == [2.5, 5.0]
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["a, diagonal", "a, iaf", "b, diagonal", "b, iaf"]
    styles = {(line.get_color(), line.get_linestyle()) for line in steps.get_lines()}
    assert len(styles) == 4


def test_samples_have_a_line_for_each_model(tmp_path: Path) -> None:
    made = {"a": runs.run(tmp_path / "a"), "b": runs.run(tmp_path / "b", network="resnet-vae")}
    figure = figures.samples(made)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["a, diagonal", "a, iaf", "b, diagonal", "b, iaf"]
    for axis in figure.axes:
        assert np.asarray(axis.get_images()[0].get_array()).shape == (5, 6 * 20)
