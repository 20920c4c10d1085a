"""How the training went."""

from __future__ import annotations

from pathlib import Path

from invflow.report.vae.curves import curves, lines, pace
from tests.report import runs


def test_bounds_over_steps(tmp_path: Path) -> None:
    run = runs.run(tmp_path / "run", warmup=0, evaluate_every=10)
    runs.write(run)
    bounds = lines(run)
    assert list(bounds) == [
        "diagonal, train",
        "diagonal, validation",
        "iaf, train",
        "iaf, validation",
    ]
    found = bounds["iaf, validation"]
    assert (found.steps, found.seconds, found.values) == ([10, 20], [2.5, 5.0], [-98, -94])
    assert [line.colour(i) for i, line in enumerate(bounds.values())] == [0, 0, 1, 1]
    assert [line.style for line in bounds.values()] == [":", "-", ":", "-"]
    for panel, label in zip(curves(bounds), ("step", "seconds of training"), strict=True):
        (axis,) = panel.figure.axes
        assert axis.get_xlabel() == label
        low, high = axis.get_ylim()
        assert low < -100
        assert high > -94


def test_the_bound_on_training_images_is_unknown_during_warmup(tmp_path: Path) -> None:
    run = runs.run(tmp_path / "run", warmup=500)
    runs.write(run)
    assert list(lines(run)) == ["diagonal, validation", "iaf, validation"]


def test_pace_and_skipped_steps_in_words(tmp_path: Path) -> None:
    run = runs.run(tmp_path / "run")
    assert pace(run) == ""
    runs.write(run)
    assert pace(run) == (
        "Median images per second: diagonal 850, iaf 450. Steps skipped because the loss or its "
        "gradient was not finite: iaf 3 of 20."
    )
