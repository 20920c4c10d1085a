"""Images from `.npz` files, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invflow.images import data

# Small images may well be the same.
pytestmark = pytest.mark.filterwarnings("ignore:.* test images are also training")

GREY = np.random.default_rng(0).integers(0, 9, (60, 4, 5), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (60, 4, 5, 3), dtype=np.uint8)


def _file(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path / "images.npz", **arrays)
    return str(path / "images.npz")


def test_one_array_is_split_the_same_way_every_time(tmp_path: Path) -> None:
    path = _file(tmp_path, images=GREY)
    first, second = data.load(path), data.load(path)
    assert first.name == "images"
    assert first.shape == (1, 4, 5)
    assert [len(p) for p in (first.train, first.validation, first.test)] == [48, 6, 6]
    assert first.train.equal(second.train)
    parts = np.concatenate([first.train, first.validation, first.test])
    assert sorted(map(bytes, parts)) == sorted(map(bytes, GREY))


def test_given_test_images_stay_apart(tmp_path: Path) -> None:
    images = data.load(_file(tmp_path, train_images=GREY, test_images=GREY[:7] // 2))
    assert images.test[:, 0].numpy().tolist() == (GREY[:7] // 2).tolist()
    assert len(images.train) == 50


@pytest.mark.parametrize("name", ["test_images", "x_val"])
def test_images_for_other_ends_are_not_trained_on(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"must hold training images too, got {name} \(60, 4, 5\)"
    ):
        data.load(_file(tmp_path, **{name: GREY}))


@pytest.mark.parametrize("names", [("x_train", "x_val", "x_test"), ("train", "val", "test")])
def test_parts_are_those_given(tmp_path: Path, names: tuple[str, ...]) -> None:
    parts = dict(zip(names, (GREY[:30], GREY[30:44], GREY[44:]), strict=True))
    images = data.load(_file(tmp_path, **parts))
    assert [len(p) for p in (images.train, images.validation, images.test)] == [30, 14, 16]
    assert images.validation[:, 0].tolist() == GREY[30:44].tolist()
    assert images.test[:, 0].tolist() == GREY[44:].tolist()
    ordered = sorted(images.train[:, 0].flatten(1).tolist())
    assert ordered == sorted(GREY[:30].reshape(30, -1).tolist())


def test_sorted_images_are_shuffled_before_some_are_held_out(tmp_path: Path) -> None:
    sorted_images = np.repeat(np.arange(6, dtype=np.uint8), 30)[:, None, None] * np.ones(
        (4, 5), np.uint8
    )
    images = data.load(_file(tmp_path, train=sorted_images, test=sorted_images[:3]))
    assert len(images.train) == 150
    for part in (images.train, images.validation):
        assert part.unique().tolist() == [0, 1, 2, 3, 4, 5]


def test_pixels_of_a_channel_follow_those_of_the_one_before(tmp_path: Path) -> None:
    images = data.load(_file(tmp_path, x_train=COLOUR[:50], x_test=COLOUR[50:]))
    assert images.shape == (3, 4, 5)
    assert (images.levels, images.binary) == (256, False)
    for flat, given in zip(images.test.flatten(1), COLOUR[50:], strict=True):
        channels = [given[..., channel].ravel() for channel in range(3)]
        assert flat.tolist() == np.concatenate(channels).tolist()


@pytest.mark.parametrize(
    ("array", "levels", "binary"),
    [
        (GREY, 9, False),
        (GREY > 4, 2, True),
        (GREY.astype(np.int64) * 30, 256, False),
        (GREY / 8, 256, True),
        (GREY[..., None], 9, False),
        (GREY[:, None], 9, False),
        (255 * (GREY > 4).astype(np.uint8), 2, True),
        (255 * (COLOUR > 4).astype(np.uint8), 2, True),
        ((GREY > 4).astype(float), 2, True),
        (GREY.astype(np.uint16) * 30, 256, False),
        (COLOUR // 100, 3, False),
        (COLOUR / 255, 256, False),
        (np.zeros((20, 3, 3), int), 2, True),
        (np.full((20, 3, 3), 7), 8, False),
        (np.full((20, 1, 1), 200), 256, False),
    ],
)
def test_levels_and_whether_they_are_usually_black_and_white(
    tmp_path: Path, array: np.ndarray, levels: int, binary: bool
) -> None:
    path = _file(tmp_path, images=array)
    images = data.load(path)
    assert (images.levels, images.binary) == (levels, binary)


def test_floating_point_numbers_become_the_nearest_levels(tmp_path: Path) -> None:
    images = data.load(_file(tmp_path, train=COLOUR / 255, test=COLOUR[:3] / np.float32(255)))
    assert np.moveaxis(images.test.numpy(), 1, -1).tolist() == COLOUR[:3].tolist()


def test_digest_tells_images_apart(tmp_path: Path) -> None:
    other = COLOUR.copy()
    other[3, 2, 1, 0] ^= 1
    digests = [
        data.load(_file(tmp_path, images=array)).digest
        for array in (COLOUR, COLOUR, COLOUR[::-1], COLOUR[..., ::-1], other)
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


NAN = np.where(np.arange(60)[:, None, None] == 3, np.nan, GREY / 8)
COLOUR_NAN = COLOUR / 255
COLOUR_NAN[7, 2, 3, 1] = np.inf


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": NAN}, "finite numbers, got 20 that are NaN or infinite, the first in image 3"),
        ({"images": COLOUR_NAN}, "the first in image 7 at row 2, column 3, channel 1$"),
        ({"images": GREY / 4}, r"floats in \[0, 1\], got 0 to 2: divide them by 255$"),
        (
            {"images": GREY.astype(int) - 1},
            r"integer levels 0 \.\. 255, got -1 to 7: rescale them to 0",
        ),
        (
            {"images": GREY.astype(int) * 99},
            r"0 \.\. 255, got 0 to 792: .* \(16-bit levels: images // 257\)$",
        ),
        ({"images": GREY[:, 0]}, "must hold one array of images"),
        ({"a": GREY, "b": GREY}, r"got a \(60, 4, 5\), b \(60, 4, 5\)"),
        ({}, "train_images and test_images; got no arrays"),
        ({"images": GREY[:9]}, "images must hold at least 10 images, got 9"),
        ({"images": GREY[:1]}, "at least 10 images, got 1"),
        ({"train": GREY[:5], "test": GREY}, "at least 10 images, got 5 for training, 60 for test"),
        ({"train": GREY, "test": GREY[:0]}, r"must hold images \(count, height, width\)"),
        ({"images": GREY[:0]}, r"must hold images \(count, height, width\)"),
        (
            {"images": COLOUR[..., :2]},
            r"1 or 3 channels last or second, if any, got \(60, 4, 5, 2\); remove an",
        ),
        ({"images": COLOUR / 255 * 2 - 1}, r"got -1 to 1: rescale them from \[-1, 1\] with"),
        ({"images": COLOUR / 25.0 - 1}, r"rescale them to \[0, 1\]$"),
        ({"images": COLOUR / 2.0}, r"got 0 to 127.5: divide them by 255$"),
        ({"images": COLOUR[..., [0, 1, 2, 0]]}, r"got \(60, 4, 5, 4\); remove an alpha channel"),
        ({"images": COLOUR[..., [0, 1, 2, 0]].swapaxes(1, 3)}, "remove an alpha channel"),
        (
            {"images": COLOUR.reshape(60, -1)},
            r"one array of images \(count, height, width\), .* got",
        ),
        ({"images": GREY.astype(str)}, "must hold numbers"),
        ({"images": GREY * 1j}, "must hold numbers"),
        (
            {"train": GREY, "test": GREY.reshape(60, 2, 10)},
            r"of one shape .*, got \(1, 4, 5\) and \(1, 2, 10\); set size to resize and crop them$",
        ),
        (
            {"train": GREY, "test": COLOUR},
            r"got \(1, 4, 5\) and \(3, 4, 5\); make all of them grey or all of them RGB$",
        ),
        ({"train": GREY / 8, "test": GREY}, "of one kind, got dtypes float64 and uint8"),
        (
            {"images": GREY.astype(object)},
            "array 'images': it holds Python objects; save it as an array of numbers, or of text",
        ),
    ],
)
def test_bad_files(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        data.load(_file(tmp_path, **arrays))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_may_come_first(tmp_path: Path, channels: int) -> None:
    last = COLOUR[..., :channels]
    first = data.load(_file(tmp_path, images=np.moveaxis(last, -1, 1)))
    assert first.shape == (channels, 4, 5)
    assert first.digest == data.load(_file(tmp_path, images=last)).digest


def test_a_single_array(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", COLOUR)
    single = data.load(str(tmp_path / "images.npy"))
    assert single.digest == data.load(_file(tmp_path, images=COLOUR)).digest


def test_black_and_white_stays_in_black_and_white(tmp_path: Path) -> None:
    white = GREY > 4
    images = data.load(_file(tmp_path, train=255 * white.astype(np.uint8), test=white[:3] * 255))
    assert images.levels == 2
    assert (images.test[:, 0].numpy() == white[:3]).all()
    # A model with 256 levels may still score them.
    assert data.scorable(_file(tmp_path, images=white * 255), 256, (1, 4, 5)).max() == 255
    scored = data.scorable(_file(tmp_path, images=white * 255), 2, (1, 4, 5))
    assert (scored[:, 0].numpy() == white).all()


def test_unreadable_files(tmp_path: Path) -> None:
    whole = Path(_file(tmp_path, images=GREY)).read_bytes()
    flipped = bytearray(whole)
    flipped[90:300] = bytes(255 - byte for byte in flipped[90:300])
    np.save(tmp_path / "array.npy", GREY)
    single = (tmp_path / "array.npy").read_bytes()
    causes = {
        b"garbage": "it is not an .npz or .npy file",
        whole[: len(whole) // 2]: "the .npz file is truncated",
        bytes(flipped): "array 'images': its header is damaged",
        single[
            :-1
        ]: r"it is truncated or damaged: shape \(60, 4, 5\) .* take 1,200 bytes, got 1,199",
        single[:40]: "its header is damaged",
    }
    for content, cause in causes.items():
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ValueError, match=rf"bad\.npz cannot be read: {cause}") as caught:
            data.load(str(tmp_path / "bad.npz"))
        assert "\n" not in str(caught.value)


def test_a_single_image(tmp_path: Path) -> None:
    (tmp_path / "cat.PNG").write_bytes(b"...")
    message = "is a single image; give the folder that holds the images"
    with pytest.raises(ValueError, match=rf"cat\.PNG {message}"):
        data.load(str(tmp_path / "cat.PNG"))


@pytest.mark.parametrize(
    ("name", "shape", "sizes"),
    [
        ("mnist", (1, 28, 28), [50_000, 10_000, 10_000]),
        ("freyfaces", (1, 28, 20), [1573, 196, 196]),
    ],
)
def test_shared_files(name: str, shape: tuple[int, int, int], sizes: list[int]) -> None:
    path = Path(__file__).parents[4] / "shared" / "data" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"needs {name}.npz of the shared data folder")
    images = data.load(str(path))
    assert [len(p) for p in (images.train, images.validation, images.test)] == sizes
    assert images.shape == shape
    assert images.levels == 256
