"""Images from folders, and what is said of bad ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invflow.vae import data
from invflow.vae.data import folder

GREY = np.random.default_rng(0).integers(0, 256, (12, 6, 5), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)


def _write(path: Path, images: np.ndarray, suffix: str = ".png") -> None:
    path.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(path / f"{i:02}{suffix}")


def _rows(images: np.ndarray) -> list[bytes]:
    return sorted(map(bytes, np.ascontiguousarray(images)))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".PNG", ".pgm", ".gif"])
def test_grey_images(tmp_path: Path, suffix: str) -> None:
    _write(tmp_path, GREY, suffix)
    images = data.load(str(tmp_path))
    assert images.name == tmp_path.name
    assert images.shape == (1, 6, 5)
    assert (images.levels, images.likelihood) == (256, "logistic")
    parts = np.concatenate([images.train, images.validation, images.test])
    assert _rows(parts[:, 0]) == _rows(GREY)
    assert images.digest == data.load(str(tmp_path)).digest


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_coloured_images(tmp_path: Path, suffix: str) -> None:
    _write(tmp_path, COLOUR, suffix)
    images = data.load(str(tmp_path))
    assert images.shape == (3, 6, 5)
    parts = np.concatenate([images.train, images.validation, images.test])
    assert _rows(np.moveaxis(parts, 1, -1)) == _rows(COLOUR)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_formats_with_losses(tmp_path: Path, suffix: str) -> None:
    _write(tmp_path, np.full((12, 16, 16, 3), 100, np.uint8), suffix)
    images = data.load(str(tmp_path))
    assert images.shape == (3, 16, 16)
    assert int((images.train.int() - 100).abs().max()) <= 4


def test_a_folder_and_an_array_of_the_same_images_are_the_same(tmp_path: Path) -> None:
    _write(tmp_path / "folder", COLOUR)
    np.savez(tmp_path / "array.npz", images=COLOUR)
    digests = {data.load(str(tmp_path / name)).digest for name in ("folder", "array.npz")}
    assert len(digests) == 1


def test_one_coloured_image_makes_all_coloured(tmp_path: Path) -> None:
    _write(tmp_path, GREY)
    Image.fromarray(COLOUR[0]).save(tmp_path / "05.png")
    source = folder.read(tmp_path)
    assert source.train.shape == (12, 3, 6, 5)
    assert (source.train[4] == GREY[4]).all()
    assert (source.train[5] == np.moveaxis(COLOUR[0], -1, 0)).all()


def test_one_bit_per_pixel(tmp_path: Path) -> None:
    black = GREY > 100
    _write(tmp_path, black)
    source = folder.read(tmp_path)
    assert (source.levels, source.likelihood) == (2, "bernoulli")
    assert (source.train[:, 0] == black).all()
    Image.fromarray(GREY[3]).save(tmp_path / "03.png")
    source = folder.read(tmp_path)
    assert (source.levels, source.likelihood) == (256, "logistic")
    assert (source.train[2, 0] == 255 * black[2]).all()


def test_order_is_that_of_paths_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    names = ["b/1.png", "a.png", "b/0.png", "B/x/2.png", "c.png"]
    for name, image in zip(names, GREY, strict=False):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / name)
    for name in (".d.png", ".cache/e.png", "b/.f.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "labels.csv").write_text("no image")
    order = [names.index(name) for name in sorted(names)]
    assert (folder.read(tmp_path).train[:, 0] == GREY[order]).all()


def test_train_and_test_are_parts_where_both_are_there(tmp_path: Path) -> None:
    _write(tmp_path / "train" / "cats", GREY[:8])
    source = folder.read(tmp_path)
    assert source.test is None
    _write(tmp_path / "test", GREY[8:])
    _write(tmp_path / "else", COLOUR)
    source = folder.read(tmp_path)
    assert (source.train[:, 0] == GREY[:8]).all()
    assert source.test is not None
    assert (source.test[:, 0] == GREY[8:]).all()


def test_opaque_transparency_is_dropped(tmp_path: Path) -> None:
    alpha = np.full((12, 6, 5, 1), 255, np.uint8)
    _write(tmp_path, np.concatenate([COLOUR, alpha], -1))
    assert (folder.read(tmp_path).train == np.moveaxis(COLOUR, -1, 1)).all()
    _write(tmp_path, np.concatenate([GREY[..., None], alpha], -1))
    assert (folder.read(tmp_path).train == GREY[:, None]).all()


def test_palettes_of_colours_are_colours(tmp_path: Path) -> None:
    _write(tmp_path, COLOUR)
    for file in tmp_path.glob("*.png"):
        with Image.open(file) as image:
            image.quantize(256).save(file)  # 30 pixels, so that no colour is lost
    assert (folder.read(tmp_path).train == np.moveaxis(COLOUR, -1, 1)).all()


def test_first_frame(tmp_path: Path) -> None:
    for i, image in enumerate(GREY):
        later = [Image.fromarray(255 - image)]
        path = tmp_path / f"{i:02}.gif"
        Image.fromarray(image).save(path, save_all=True, append_images=later)
    assert (folder.read(tmp_path).train[:, 0] == GREY).all()


def _transparent(path: Path) -> None:
    alpha = np.full((6, 5, 1), 255, np.uint8)
    alpha[2, 2] = 254
    Image.fromarray(np.concatenate([COLOUR[0], alpha], -1)).save(path / "05.png")


def _transparent_colour(path: Path) -> None:
    image = Image.fromarray(GREY[0])
    image.save(path / "05.png", transparency=int(GREY[0, 0, 0]))


def _truncated(path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)
    Image.fromarray(whole).save(path / "05.png")
    content = (path / "05.png").read_bytes()
    (path / "05.png").write_bytes(content[: content.index(b"IDAT") + 12])


def _postscript(path: Path) -> None:
    (path / "05.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_transparent, "05.png must be opaque"),
        (_transparent_colour, "05.png must be opaque"),
        (_truncated, "05.png is not a readable image"),
        (_postscript, "05.png is not a readable image"),
        (lambda path: (path / "05.png").write_bytes(b""), "05.png is not a readable image"),
        (
            lambda path: Image.fromarray(GREY[0, :4]).save(path / "05.png"),
            r"one size \(width x height\), got 00.png of 5 x 6 and 05.png of 5 x 4",
        ),
        (
            lambda path: Image.fromarray(GREY[0].astype(np.uint16) * 200).save(path / "05.png"),
            "05.png must have 8 bits per channel, grey or colour, got Pillow's mode 'I",
        ),
        (
            lambda path: [file.unlink() for file in path.glob("*.png")],
            r"holds no image files \(.bmp ",
        ),
        (
            lambda path: [file.unlink() for file in list(path.glob("*.png"))[1:]],
            "at least 10 images, got 1",
        ),
        (lambda path: [(path / part).mkdir() for part in ("train", "test")], "train holds no im"),
    ],
)
def test_bad_folders(tmp_path: Path, spoil: object, message: str) -> None:
    assert callable(spoil)
    _write(tmp_path, GREY)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        data.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, GREY)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'Pillow: pip install "invflow\[vae\]"'):
        data.load(str(tmp_path))
