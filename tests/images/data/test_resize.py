"""Images of several sizes, resized and cropped to one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invflow.images import data
from invflow.images.data.resize import resized

pytestmark = pytest.mark.filterwarnings("ignore:.* test images are also training")
RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (12, 8, 6, 3), dtype=np.uint8)


def _waves(height: int, width: int, x: float, y: float) -> np.ndarray:
    """Return a smooth image on a grid over [0, 1] x [0, 1], shape (1, height, width)."""
    rows = (np.arange(height)[:, None] + 0.5) / height
    columns = (np.arange(width) + 0.5) / width
    return np.round(127.5 + 100 * np.sin(x * columns) * np.cos(y * rows)).astype(np.uint8)[None]


@pytest.mark.parametrize(("height", "width"), [(60, 60), (31, 31), (16, 16), (12, 12)])
def test_smooth_images_are_the_same_at_another_size(height: int, width: int) -> None:
    found = resized(_waves(height, width, 4.0, 3.0), 16, 256)
    assert found.shape == (1, 16, 16)
    inner = np.s_[:, 2:-2, 2:-2]  # what lies beyond the edges is unknown
    off = np.abs(found[inner].astype(int) - _waves(16, 16, 4.0, 3.0)[inner].astype(int))
    assert off.max() <= 3


def test_fine_detail_is_averaged() -> None:
    """A checkerboard of the finest squares is grey from afar, which picking pixels would miss."""
    board = (np.indices((64, 64)).sum(0) % 2 * 200 + 20).astype(np.uint8)[None]
    assert (np.abs(resized(board, 8, 256).astype(int) - 120) <= 2).all()


@pytest.mark.parametrize("transpose", [False, True])
def test_the_centre_is_kept(transpose: bool) -> None:
    """Of three squares side by side, grey levels 10, 100 and 200, the middle one."""
    image = np.repeat([10, 100, 200], 20).astype(np.uint8)[None, None].repeat(20, 1)
    image = image.swapaxes(1, 2) if transpose else image
    inner = resized(image, 10, 256)[:, 2:-2, 2:-2]
    assert (inner == 100).all()


def test_an_image_of_that_size_stays_as_it_is() -> None:
    image = RANDOM.integers(0, 256, (3, 7, 7), dtype=np.uint8)
    assert (resized(image, 7, 256) == image).all()


def test_levels_stay_levels() -> None:
    image = RANDOM.integers(0, 9, (1, 30, 40), dtype=np.uint8)
    assert set(np.unique(resized(image, 20, 9))) <= set(range(9))
    for white in (1, 255):
        black = (image > 4).astype(np.uint8) * white
        assert set(np.unique(resized(black, 20, white + 1))) == {0, white}


def test_a_folder_of_several_sizes(tmp_path: Path) -> None:
    for i, image in enumerate(COLOUR):
        Image.fromarray(image[: 4 + i % 5]).save(tmp_path / f"{i:02}.png")
    with pytest.raises(ValueError, match=r"differ in size .*; set size \(--size 4\) to resize"):
        data.load(str(tmp_path))
    images = data.load(str(tmp_path), size=5)
    assert images.shape == (3, 5, 5)
    assert images.levels == 256
    scored = data.scorable(str(tmp_path), 256, (3, 5, 5), size=5)
    expected = resized(np.moveaxis(COLOUR[2, :6], -1, 0), 5, 256)
    assert (scored[2].numpy() == expected).all()


def test_folders_keep_one_bit_per_pixel(tmp_path: Path) -> None:
    for i, image in enumerate(COLOUR):
        Image.fromarray(image[..., 0] > 100).save(tmp_path / f"{i:02}.png")
    images = data.load(str(tmp_path), size=4)
    assert (images.levels, images.binary) == (2, True)
    assert images.train.unique().tolist() == [0, 1]


def test_arrays_and_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=COLOUR, test=COLOUR[:4, :7])
    with pytest.raises(ValueError, match=r"of one shape .*; set size to resize and crop them"):
        data.load(str(tmp_path / "a.npz"))
    images = data.load(str(tmp_path / "a.npz"), size=6)
    assert images.shape == (3, 6, 6)
    expected = resized(np.moveaxis(COLOUR[1, :7], -1, 0), 6, 256)
    assert (images.test[1].numpy() == expected).all()
    digits = data.load("digits", size=5)
    assert (digits.shape, digits.levels) == ((1, 5, 5), 17)
    assert data.scorable("digits", 17, (1, 5, 5), size=5).equal(digits.test)


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (0, ValueError, "size must be at least 1, got 0"),
        (10**9, ValueError, "size must be at most 8192 pixels, got 1000000000"),
        (2.5, TypeError, "size must be an integer"),
    ],
)
def test_bad_sizes(size: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.load("digits", size=size)


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'size needs Pillow: pip install "invflow\[images\]"'):
        data.load("digits", size=5)
