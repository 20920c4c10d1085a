"""Images from names and files, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invflow.vae import data

GREY = np.random.default_rng(0).integers(0, 9, (60, 4, 5), dtype=np.uint8)


def _file(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path / "images.npz", **arrays)
    return path / "images.npz"


def test_digits() -> None:
    images = data.load("digits")
    assert images.levels == 17
    assert images.likelihood == "logistic"
    assert sum(map(len, (images.train, images.validation, images.test))) == 1797
    assert int(images.train.max()) == 16


def test_one_array_is_split_the_same_way_every_time(tmp_path: Path) -> None:
    path = _file(tmp_path, images=GREY)
    first, second = data.read(path), data.read(path)
    assert [len(p) for p in (first.train, first.validation, first.test)] == [48, 6, 6]
    assert first.train.equal(second.train)
    parts = np.concatenate([first.train, first.validation, first.test])
    assert sorted(map(bytes, parts)) == sorted(map(bytes, GREY))


def test_given_test_images_stay_apart(tmp_path: Path) -> None:
    images = data.read(_file(tmp_path, train_images=GREY, test_images=GREY[:7] // 2))
    assert images.test.numpy().tolist() == (GREY[:7] // 2).tolist()
    assert len(images.train) == 50


@pytest.mark.parametrize(
    ("array", "levels", "likelihood"),
    [
        (GREY, 9, "logistic"),
        (GREY > 4, 2, "bernoulli"),
        (GREY.astype(np.int64) * 30, 256, "logistic"),
        (GREY / 8, 256, "bernoulli"),
        (GREY[..., None], 9, "logistic"),
    ],
)
def test_likelihood_suits_the_levels(
    tmp_path: Path, array: np.ndarray, levels: int, likelihood: str
) -> None:
    images = data.read(_file(tmp_path, images=array))
    assert (images.levels, images.likelihood) == (levels, likelihood)


NAN = np.where(np.arange(60)[:, None, None] == 3, np.nan, GREY / 8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": NAN}, "finite numbers, got 20 that are NaN or infinite, the first in image 3"),
        ({"images": GREY / 4}, r"in \[0, 1\], got numbers from 0 to 2"),
        ({"images": GREY.astype(int) - 1}, r"grey levels 0 \.\. 255, got -1 to 7"),
        ({"images": GREY.astype(int) * 99}, r"grey levels 0 \.\. 255, got 0 to 792"),
        ({"images": GREY[:, 0]}, "must hold one array of images"),
        ({"a": GREY, "b": GREY}, r"it holds a \(60, 4, 5\), b \(60, 4, 5\)"),
        ({"images": GREY[:5]}, "at least 10 images, got 5"),
        ({"images": GREY[:0]}, r"must hold images \(count, height, width\)"),
        ({"images": np.stack([GREY] * 3, -1)}, r"must hold images \(count, height, width\)"),
        ({"images": GREY.astype(str)}, "must hold numbers"),
        (
            {"train": GREY, "test": GREY.reshape(60, 2, 10)},
            r"of one size, got \(4, 5\) and \(2, 10",
        ),
        ({"train": GREY / 8, "test": GREY}, "of one kind, got dtypes float64 and uint8"),
        ({"images": GREY.astype(object)}, "not a readable .npz file"),
    ],
)
def test_bad_files(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read(_file(tmp_path, **arrays))


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        data.read(tmp_path / "none.npz")
    whole = _file(tmp_path, images=GREY).read_bytes()
    flipped = bytearray(whole)
    flipped[90:300] = bytes(255 - byte for byte in flipped[90:300])
    np.save(tmp_path / "array.npy", GREY)
    single = (tmp_path / "array.npy").read_bytes()
    for content in (b"", b"garbage", whole[: len(whole) // 2], bytes(flipped), single):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"not a readable \.npz file"):
            data.read(tmp_path / "bad.npz")


def test_images_to_score_must_fit_the_model(tmp_path: Path) -> None:
    path = str(_file(tmp_path, images=GREY))
    assert len(data.scorable(path, 9, (4, 5))) == 60
    with pytest.raises(ValueError, match=r"must hold images of \(5, 4\)"):
        data.scorable(path, 9, (5, 4))
    with pytest.raises(ValueError, match=r"grey levels 0 \.\. 7, got up to 8"):
        data.scorable(path, 8, (4, 5))
    with pytest.raises(ValueError, match=r"grey levels 0 \.\. 8 .* nothing but 0 and 1"):
        data.scorable(str(_file(tmp_path, images=GREY > 4)), 9, (4, 5))
    assert len(data.scorable(str(_file(tmp_path, images=GREY > 4)), 2, (4, 5))) == 60


def test_shared_mnist() -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "mnist.npz"
    if not path.is_file():
        pytest.skip("needs the MNIST file of the shared data folder")
    images = data.read(path)
    assert [len(p) for p in (images.train, images.validation, images.test)] == [
        50_000,
        10_000,
        10_000,
    ]
    assert images.shape == (28, 28)
    assert images.levels == 256
