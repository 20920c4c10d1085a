"""Which test images are shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from invflow.report.vae.images import COLUMNS, reconstructions, spaced
from tests.report import runs
from tests.report.pages import grey, shown


@pytest.mark.parametrize(("count", "rows"), [(1, [30]), (3, [10, 30, 50]), (99, list(range(60)))])
def test_images_from_all_over_the_test_set(tmp_path: Path, count: int, rows: list[int]) -> None:
    run = runs.run(tmp_path, test=runs.GREY.repeat(10, 1, 1, 1))
    assert spaced(run, count).tolist() == rows


def test_reconstructions_are_of_the_images_above_them(tmp_path: Path) -> None:
    test = runs.GREY.repeat(10, 1, 1, 1)
    run = runs.run(tmp_path, test=test, classes=("a", "b", "c"))
    first, *_ = reconstructions(run, torch.Generator().manual_seed(0))
    rows = spaced(run, COLUMNS)
    assert (shown(first)[:4, 6:11] == grey(test[rows[1], 0])).all()
    assert run.given(run.model(), rows).argmax(-1).tolist() == (rows % 3).tolist()  # type: ignore[union-attr]
