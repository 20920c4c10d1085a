"""The divergence in each group of latents."""

from __future__ import annotations

from pathlib import Path

from invflow.report.vae import information as figures
from tests.report import runs


def test_layers_go_from_the_top_and_maps_from_the_largest(tmp_path: Path) -> None:
    run = runs.run(tmp_path, network="resnet-vae")
    # Images of 4 x 5: the lower layer has 2 x 3, the upper one 1 x 2.
    parts = figures.layers(run.model(), [1.0, 2.5, 4.0, 3.0])
    assert parts == [("1 x 2\n3.5", [2.5, 1.0]), ("2 x 3\n7.0", [4.0, 3.0])]


def test_bars_are_the_divergences(tmp_path: Path) -> None:
    run = runs.run(tmp_path, network="resnet-vae", free_bits=0.25)
    panels = figures.information(run)
    assert [panel.title for panel in panels] == ["diagonal", "iaf"]
    for panel in panels:
        (axis,) = panel.figure.axes
        assert axis.get_ylim() == (0, 1.05 * 8)
        assert [bar.get_height() for bar in axis.patches] == [4.0, 2.0, 8.0, 6.0]
        assert list(axis.get_lines()[0].get_ydata()) == [0.25, 0.25]
        assert len({bar.get_x() for bar in axis.patches}) == 4


def test_one_group_is_nothing_to_show(tmp_path: Path) -> None:
    assert figures.grouped(runs.run(tmp_path)) == []
    assert figures.grouped(runs.run(tmp_path, network="resnet-vae")) == ["diagonal", "iaf"]
