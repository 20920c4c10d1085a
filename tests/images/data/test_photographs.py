"""Patches of photographs: no pixel is in two parts of the data."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from invflow.images import data
from invflow.images.data import photographs
from invflow.images.data.photographs import BLOCK, PATCH, STRIDE, Block, laid, patches

SHAPES = [(427, 640), (90, 141)]
NUMBERS = [np.arange(height * width).reshape(height, width) for height, width in SHAPES]
STRIDES = {"train": 1, "validation": STRIDE, "test": STRIDE}


def _seen(part: str, picture: int, margin: int = 0) -> np.ndarray:
    """Return which pixels of a picture the patches of a part see, or lie within a margin of."""
    seen = np.zeros(NUMBERS[picture].size, dtype=bool)
    for block in laid(SHAPES):
        if (block.part, block.picture) == (part, picture):
            seen[patches(NUMBERS[picture], block, STRIDES[part])] = True
    where = np.argwhere(seen.reshape(SHAPES[picture]))
    wide = np.zeros(SHAPES[picture], dtype=bool)
    for row, column in where:
        wide[
            max(0, row - margin) : row + margin + 1, max(0, column - margin) : column + margin + 1
        ] = 1
    return wide


@pytest.mark.parametrize("picture", [0, 1])
def test_no_pixel_is_in_two_parts(picture: int) -> None:
    """Patches of different parts are at least a patch apart."""
    train, validation, test = (_seen(part, picture) for part in STRIDES)
    assert train.any()
    assert test.any()
    near = _seen("test", picture, margin=PATCH)
    assert not (near & (train | validation)).any()
    assert not (_seen("validation", picture, margin=PATCH) & train).any()
    # One pixel more, and they would touch.
    assert (_seen("test", picture, margin=PATCH + 1) & train).any()


def test_clusters_are_blocks() -> None:
    blocks = laid(SHAPES)
    for a in blocks:
        for b in blocks:
            if a != b and a.picture == b.picture:
                assert max(abs(a.row - b.row), abs(a.column - b.column)) >= BLOCK + PATCH
    counts = {part: sum(block.part == part for block in blocks) for part in STRIDES}
    assert min(counts.values()) > 0
    assert counts["train"] > 2 * counts["test"] > 2 * counts["validation"]


def test_patches_are_cut_where_they_are() -> None:
    found = patches(NUMBERS[1], Block("test", 1, 48, 96), STRIDE)
    assert found.shape == (49, PATCH, PATCH)
    assert found[0, 0].tolist() == list(range(48 * 141 + 96, 48 * 141 + 104))
    assert found[8, 0, 0] == (48 + STRIDE) * 141 + 96 + STRIDE
    # Corners fall on nearly all places of JPEG's grid, where an even stride sees half of them.
    assert len({(48 + STRIDE * i) % 8 for i in range(7)}) == 7


def test_the_images() -> None:
    images = data.load("photographs")
    assert (images.shape, images.levels, images.binary) == ((1, 8, 8), 256, False)
    assert images.clusters is not None
    assert len(images.clusters) == len(images.test)
    assert images.clusters.equal(data.clusters("photographs"))  # type: ignore[arg-type]
    assert data.clusters("digits") is None
    assert data.clusters("./photographs") is None
    assert images.leaked == 0
    counts = images.clusters.bincount()
    assert counts.unique().tolist() == [49]
    assert all(a <= b for a, b in pairwise(images.clusters.tolist()))
    # Patches of a block look more alike than those of different blocks.
    means = images.test.double().mean((1, 2, 3)).reshape(-1, 49)
    assert means.std(1).mean() < 0.5 * means.mean(1).std()
    assert images.digest == data.load("photographs").digest
    assert torch.equal(images.binarised().clusters, images.clusters)  # type: ignore[arg-type]


def test_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = np.zeros((48, 400, 3), dtype=np.uint8)
    colours[..., 0], colours[..., 1], colours[..., 2] = 255, 100, 10

    class Bunch:
        images = (colours, colours)

    monkeypatch.setattr("sklearn.datasets.load_sample_images", Bunch)
    # 0.299 * 255 + 0.587 * 100 + 0.114 * 10 = 136.085
    assert np.unique(photographs.photographs().train).tolist() == [136]


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'photographs needs scikit-learn: pip install "invflow'):
        data.load("photographs")
