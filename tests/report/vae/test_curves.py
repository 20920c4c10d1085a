"""How the training went."""

from __future__ import annotations

from pathlib import Path

from invflow.report.vae.curves import curves, pace
from tests.report import runs


def test_bounds_over_steps(tmp_path: Path) -> None:
    run = runs.run(tmp_path / "run")
    runs.write(run)
    axis = curves(run).axes[0]
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert list(lines) == [
        "diagonal, train",
        "diagonal, validation",
        "iaf, train",
        "iaf, validation",
    ]
    assert list(lines["iaf, validation"].get_xdata()) == [10, 20]
    assert list(lines["iaf, validation"].get_ydata()) == [-98, -94]
    low, high = axis.get_ylim()
    assert low < -100
    assert high > -94


def test_pace_and_skipped_steps_in_words(tmp_path: Path) -> None:
    run = runs.run(tmp_path / "run")
    assert pace(run) == ""
    runs.write(run)
    assert pace(run) == (
        "Median images per second: diagonal 850, iaf 450. Steps skipped because the loss or its "
        "gradient was not finite: iaf 3 of 20."
    )
