"""Images from folders, and what is said of bad ones."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invflow.images import data
from invflow.images.data import arrays as arrays_
from invflow.images.data import folder
from invflow.images.data.images import Source

# Small images may well be the same.
pytestmark = pytest.mark.filterwarnings("ignore:.* test images are also training")

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
    assert (images.levels, images.binary) == (256, False)
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
    assert (source.levels, source.binary) == (2, True)
    assert (source.train[:, 0] == black).all()
    Image.fromarray(GREY[3]).save(tmp_path / "03.png")
    source = folder.read(tmp_path)
    assert (source.levels, source.binary) == (256, False)
    assert (source.train[2, 0] == 255 * black[2]).all()


def test_black_and_white_files_are_two_levels(tmp_path: Path) -> None:
    black = GREY > 100
    _write(tmp_path, 255 * black.astype(np.uint8))
    images = data.load(str(tmp_path))
    assert (images.levels, images.binary) == (2, True)
    parts = np.concatenate([images.train, images.validation, images.test])
    assert _rows(parts[:, 0]) == _rows(black.astype(np.uint8))
    Image.fromarray(GREY[3]).save(tmp_path / "03.png")
    assert data.load(str(tmp_path)).levels == 256


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
    with pytest.warns(UserWarning, match=r"ignored 1 file.s. that are not images: labels.csv$"):
        source = folder.read(tmp_path)
    assert (source.train[:, 0] == GREY[order]).all()


def test_train_and_test_are_parts_where_both_are_there(tmp_path: Path) -> None:
    _write(tmp_path / "train" / "cats", GREY[:8])
    source = folder.read(tmp_path)
    assert source.test is None
    _write(tmp_path / "test", GREY[8:])
    _write(tmp_path / "else", COLOUR)
    with pytest.warns(
        UserWarning, match=r"ignored 12 image.s. that are not in test or train: else/00"
    ):
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
    with pytest.warns(UserWarning, match=r"only the first frame of 12 file.s.: 00.gif, 01.gif"):
        source = folder.read(tmp_path)
    assert (source.train[:, 0] == GREY).all()


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


def _truncated_jpeg(path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(
        content, "JPEG"
    )
    (path / "05.png").write_bytes(content.getvalue()[: len(content.getvalue()) // 2])


def _flipped(path: Path) -> None:
    content = bytearray((path / "05.png").read_bytes())
    content[content.index(b"IDAT") + 6] ^= 255
    (path / "05.png").write_bytes(bytes(content))


def _postscript(path: Path) -> None:
    (path / "05.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_transparent, "05.png must be opaque"),
        (_transparent_colour, "05.png must be opaque"),
        (_truncated, "05.png cannot be read: it is truncated"),
        (_truncated_jpeg, "05.png cannot be read: it is truncated"),
        (_flipped, r"05.png cannot be read: it is damaged \(.*\)$"),
        (
            lambda path: Image.new("LAB", (5, 6)).save(path / "05.tif"),
            "05.tif must have 8 bits per channel, grey or colour, got mode LAB; convert it to",
        ),
        (
            lambda path: Image.new("F", (5, 6)).save(path / "05.tif"),
            "05.tif must have 8 bits per channel, grey or colour, got mode F; convert it to",
        ),
        (_postscript, "05.png cannot be read: it is not an image .BMP, GIF, JPEG, PNG"),
        (lambda path: (path / "05.png").write_bytes(b""), "05.png cannot be read: it is empty"),
        (
            lambda path: Image.fromarray(GREY[0].astype(np.uint16) * 200).save(path / "05.png"),
            "05.png must have 8 bits per channel, .*, got 16 bits; convert it to 8-bit grey or RGB",
        ),
    ],
)
def test_an_image_that_cannot_be_used_is_left_out(
    tmp_path: Path, spoil: object, message: str
) -> None:
    assert callable(spoil)
    _write(tmp_path, GREY)
    spoil(tmp_path)
    with pytest.warns(UserWarning, match=f"^image left out: .*{message}") as caught:
        found = folder.read(tmp_path)
    assert "\n" not in str(caught[0].message)
    assert len(caught) == 1
    assert len(found.train) == len(list(tmp_path.glob("*"))) - 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda path: Image.fromarray(GREY[0, :4]).save(path / "05.png"),
            r"differ in size .*: 00.png is 5 x 6, 05.png 5 x 4; set size \(--size 4\) to resize",
        ),
        (
            lambda path: [file.unlink() for file in path.glob("*.png")],
            r"has no image files \(.bmp ",
        ),
        (
            lambda path: [file.unlink() for file in list(path.glob("*.png"))[1:]],
            "at least 10 images, got 1",
        ),
        (
            lambda path: [(path / part).mkdir() for part in ("train", "test")],
            "part 'test' of .* has no im",
        ),
    ],
)
def test_bad_folders(tmp_path: Path, spoil: object, message: str) -> None:
    assert callable(spoil)
    _write(tmp_path, GREY)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message) as caught:
        data.load(str(tmp_path))
    assert "\n" not in str(caught.value)


PARTS = [
    ("Train", None, "Test"),
    ("TRAIN", "valid", "TEST"),
    ("train", "Valid", "test"),
    ("training", "validation", "testing"),
    ("Training", "VAL", "Testing"),
    ("train_images", "val_images", "test_images"),
    ("x_train", "x-valid", "x_test"),
    ("TrainSet", "ValidationSet", "TestSet"),
    ("train", "val", None),
    ("train/train", "val/val", "test/test"),
]


def _parts(path: Path, names: tuple[str | None, ...]) -> None:
    for name, images in zip(names, (GREY[:6], GREY[6:8], GREY[8:]), strict=True):
        if name is not None:
            _write(path / name / "cats", images[:1])
            _write(path / name / "dogs", images[1:])


def _assert_parts(source: Source, names: tuple[str | None, ...]) -> None:
    parts = source.train, source.validation, source.test
    for name, part, images in zip(names, parts, (GREY[:6], GREY[6:8], GREY[8:]), strict=True):
        assert (part is None) == (name is None)
        assert part is None or (part[:, 0] == images).all()


@pytest.mark.parametrize("names", PARTS)
def test_parts_in_any_capitals(tmp_path: Path, names: tuple[str | None, ...]) -> None:
    """No test image is ever among those to learn from."""
    _parts(tmp_path, names)
    _assert_parts(folder.read(tmp_path), names)


@pytest.mark.parametrize("names", PARTS)
def test_parts_of_a_file_in_any_capitals(tmp_path: Path, names: tuple[str | None, ...]) -> None:
    arrays = dict(zip(map(str, names), (GREY[:6], GREY[6:8], GREY[8:]), strict=True))
    arrays.pop("None", None)
    np.savez(tmp_path / "a.npz", **arrays, y_train=np.arange(6), y_test=np.arange(4))
    _assert_parts(arrays_.read(tmp_path / "a.npz"), names)


def test_what_else_a_file_holds_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train=GREY, extra=GREY, labels=np.arange(12))
    with pytest.warns(UserWarning, match=r"a.npz: ignored extra \(12, 6, 5\)$"):
        arrays_.read(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", Train=GREY, x_train=GREY)
    with pytest.raises(
        ValueError, match="each part under one name, got both 'Train' and 'x_train'"
    ):
        arrays_.read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train", "val", "valid"), "each part under one name, got both 'val' and 'valid'"),
        (("Train", "train"), "each part under one name, got both 'Train' and 'train'"),
        (("test",), "must hold a subfolder train beside the other parts, got only test"),
        (("valid", "Test", "a"), "must hold a subfolder train beside the other parts, got "),
        (("train", "bus"), r"holds images in train and outside it, bus/00.png, bus/01.png, "),
        (("train2017", "test2017"), "look like parts of a data set, test2017, train2017, but"),
        (("photos/train", "photos/test"), "look like parts of a data set, test, train, but"),
        (("train/train", "train/test"), "look like parts of a data set, test, train, but"),
        (("train", "test/cats", "test/Training"), "look like parts of a data set, Training, but"),
        (("cats/train", "cats/test", "dogs/train"), "look like parts of a data set, test, train"),
        (("cats/a", "cats/Validation"), "look like parts of a data set, Validation, but"),
    ],
)
def test_folders_that_may_be_parts_or_not(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    for name in names:
        _write(tmp_path / name, GREY)
    with pytest.raises(ValueError, match=message) as caught:
        folder.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_classes_are_pooled(tmp_path: Path) -> None:
    names = ["bus", "test tubes", "trains", "validity"]
    for name, images in zip(names, np.split(GREY, 4), strict=True):
        _write(tmp_path / name, images, ".PnG")
    source = folder.read(tmp_path)
    assert source.test is source.validation is None
    assert (source.train[:, 0] == GREY).all()


def test_names_with_braces(tmp_path: Path) -> None:
    for name in ("train {}", "test{}", "{}"):
        _write(tmp_path / name, GREY)
    with pytest.warns(UserWarning, match=r"ignored 12 .* not in test\{\} or train \{\}: \{\}/"):
        folder.read(tmp_path)


def test_files_named_like_parts_are_told(tmp_path: Path) -> None:
    _write(tmp_path, GREY)
    for i, part in enumerate(["train", "train", "test"]):
        (tmp_path / f"{i:02}.png").rename(tmp_path / f"{part}_{i:02}.png")
    with pytest.warns(UserWarning, match=r"as one part 3 image\(s\) .*: test_02.png, train_00.png"):
        assert len(folder.read(tmp_path).train) == len(GREY)
    (tmp_path / "test_02.png").rename(tmp_path / "02.png")
    folder.read(tmp_path)  # pictures of trains


def test_what_archives_leave_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path / "train", GREY)
    for name in (".DS_Store", "train/._00.png", "train/Thumbs.db", "__MACOSX/train/00.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no image")
    assert (folder.read(tmp_path).train[:, 0] == GREY).all()


def test_links_are_followed_once(tmp_path: Path) -> None:
    _write(tmp_path / "elsewhere", GREY[6:])
    images = tmp_path / "images"
    _write(images / "a", GREY[:6])
    (images / "b").symlink_to(tmp_path / "elsewhere")
    (images / "a" / "up").symlink_to(images)
    (tmp_path / "elsewhere" / "back").symlink_to(images / "a")
    (images / "c").symlink_to(images / "a")
    assert (folder.read(images).train[:, 0] == GREY).all()
    (images / "d.png").symlink_to(tmp_path / "nothing.png")
    with pytest.warns(UserWarning, match=r"ignored 1 file.s. that are not images: d.png"):
        folder.read(images)


def test_test_images_that_are_learned_from_are_told(tmp_path: Path) -> None:
    _write(tmp_path / "train", GREY)
    (tmp_path / "test").symlink_to(tmp_path / "train")
    with pytest.warns(UserWarning, match="12 of 12 test images are also training or validation"):
        data.load(str(tmp_path))


#: What a camera says of how it was held, and how the picture is turned then.
ORIENTATIONS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: np.swapaxes(x, 0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.swapaxes(x[::-1, ::-1], 0, 1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("kind", ["grey", "colour", "palette"])
def test_photographs_are_turned(tmp_path: Path, orientation: int, suffix: str, kind: str) -> None:
    original = COLOUR[0] if kind == "colour" else GREY[0]
    image = Image.fromarray(original)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "palette":
        image = image.convert("P")
    options = {"lossless": True} if suffix == ".webp" else {}
    image.save(tmp_path / f"a{suffix}", exif=exif, **options)
    levels = folder.read(tmp_path).train[0]
    expected = np.atleast_3d(ORIENTATIONS[orientation](original))
    assert (np.moveaxis(levels, 0, -1) == expected).all()


def test_photographs_are_of_one_size_as_they_are_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _write(tmp_path, np.full((11, 5, 6, 3), 100, np.uint8), ".jpg")
    lying = Image.fromarray(np.full((6, 5, 3), 100, np.uint8))
    lying.save(tmp_path / "11.JPG", exif=exif)
    assert folder.read(tmp_path).train.shape == (12, 3, 5, 6)
    lying.save(tmp_path / "11.JPG")
    with pytest.raises(ValueError, match="differ in size"):
        folder.read(tmp_path)


def _deep_png(path: Path) -> None:
    """Write an image of 5 x 6 pixels in colours of 16 bits, of which Pillow keeps 8."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + name + content + checksum

    head = struct.pack(">IIBBBBB", 5, 6, 16, 2, 0, 0, 0)
    pixels = zlib.compress(6 * (b"\0" + 5 * 6 * b"\1"))
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    (path / "05.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def _deep_ppm(path: Path) -> None:
    (path / "05.png").write_bytes(b"P6 5 6 65535\n" + 5 * 6 * 6 * b"\1")


@pytest.mark.parametrize("spoil", [_deep_png, _deep_ppm])
def test_sixteen_bits_are_refused_in_colour_too(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    _write(tmp_path, COLOUR)
    spoil(tmp_path)
    with pytest.warns(UserWarning, match=r"left out: .*05.png must have 8 bits .* got 16 bits"):
        assert len(folder.read(tmp_path).train) == len(COLOUR) - 1


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (5, 6), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    red = np.array([255, 0, 0], np.uint8)[:, None, None]
    assert (folder.read(tmp_path).train[0] == red).all()


def test_large_photographs_are_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, GREY)  # 30 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert (folder.read(tmp_path).train[:, 0] == GREY).all()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 14)
    with (
        pytest.warns(UserWarning, match=r"\d\d\.png cannot be read: it has more than 28"),
        pytest.raises(
            ValueError,
            match=r"has no image that can be used: .*00\.png cannot be read: it has more than 28",
        ),
    ):
        folder.read(tmp_path)


def test_at_most_fifty_lines(tmp_path: Path) -> None:
    _write(tmp_path, GREY)
    for i in range(60):
        (tmp_path / f"bad{i:02}.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="image") as caught:
        assert len(folder.read(tmp_path).train) == len(GREY)
    lines = [str(warning.message) for warning in caught]
    assert lines[49].endswith("bad49.png cannot be read: it is empty")
    assert lines[50:] == [f"{tmp_path}: 10 more image(s) left out"]


def test_a_part_without_usable_images(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        _write(tmp_path / part, GREY)
    for file in (tmp_path / "test").iterdir():
        file.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="it is empty"),
        pytest.raises(
            ValueError, match=r"the part 'test' of .* has no image that can be used: .*/00"
        ),
    ):
        folder.read(tmp_path)


def test_classes_are_those_of_the_images_that_are_read(tmp_path: Path) -> None:
    for name, images in (("cats", GREY[:6]), ("dogs", GREY[6:])):
        (tmp_path / name).mkdir()
        _write(tmp_path / name, images)
    (tmp_path / "cats" / "02.png").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"image left out: .*02\.png cannot be read: it is empty"):
        found = folder.read(tmp_path)
    assert found.labels is not None
    assert found.labels()["train"].tolist() == 5 * ["cats"] + 6 * ["dogs"]
    assert len(found.train) == 11


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, GREY)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'Pillow: pip install "invflow\[images\]"'):
        data.load(str(tmp_path))
