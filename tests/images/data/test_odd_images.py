"""A folder of images as people have them: each is read right, or left out with a line."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from invflow.images import data
from invflow.images.data import folder
from tests.odd_images import BAD, GOOD, HIDDEN, write

SIZE = 32
#: Pictures without a disc, and those of which the centre shows another part of it.
OTHERS = ("one-pixel.png", "wide.png", "tall.png")


def test_each_file_is_read_or_has_a_line(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        source = folder.read(photos, SIZE)
    lines = [str(warning.message) for warning in caught]
    assert not any("\n" in line for line in lines)
    left_out = [line for line in lines if line.startswith("image left out: ")]
    assert len(left_out) == len(BAD)
    for name, (_, reason) in BAD.items():
        (line,) = [each for each in left_out if f"{photos / name} " in each]
        assert reason in line
    others = [line for line in lines if line not in left_out]
    assert sorted(line.removeprefix(f"{photos}: ") for line in others) == [
        "ignored 2 file(s) that are not images: labels.csv, notes.txt",
        "read only the first frame of 1 file(s): animated.gif",
    ]
    assert not any(name in line for line in lines for name in HIDDEN)
    assert source.train.shape == (len(GOOD), 3, SIZE, SIZE)
    assert source.levels == 256


def test_what_is_read_is_what_is_seen(tmp_path: Path) -> None:
    """Upright, in the right colours: a bright disc in the upper left, dark below it."""
    photos = tmp_path / "photos"
    write(photos)
    with pytest.warns(UserWarning, match=r"image left out|ignored 2|only the first frame"):
        levels = folder.read(photos, SIZE).train.astype(float).mean(1)
    for name, image in zip(sorted(GOOD), levels, strict=True):
        if name in OTHERS:
            continue
        disc, below = image[4:14, 6:16].mean(), image[-8:, -8:].mean()
        assert disc > below + 60, name


@pytest.mark.parametrize("kept", [0, 5])
def test_too_few_are_left(tmp_path: Path, kept: int) -> None:
    photos = tmp_path / "photos"
    write(photos)
    for name in sorted(GOOD)[kept:]:
        (photos / name).unlink()
    message = "must hold at least 10 images, got 5" if kept else "has no image that can be used: "
    with (
        pytest.warns(UserWarning, match=r"image left out|ignored 2|only the first frame"),
        pytest.raises(ValueError, match=re.escape(message)),
    ):
        data.load(str(photos), size=SIZE)


def test_the_pixel_and_the_colours(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write(photos)
    with pytest.warns(UserWarning, match=r"image left out|ignored 2|only the first frame"):
        levels = folder.read(photos, SIZE).train
    pixel = levels[sorted(GOOD).index("one-pixel.png")]
    assert np.array_equal(pixel, np.broadcast_to(np.array([[[200]], [[30]], [[30]]]), pixel.shape))
    for name in ("grey.png", "one-bit.png", "opaque-grey-alpha.png"):
        grey = levels[sorted(GOOD).index(name)]
        assert np.array_equal(grey[0], grey[2]), name
