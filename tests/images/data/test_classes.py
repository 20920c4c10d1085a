"""The class of each image: from folders, from label arrays, and of published data sets."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
from PIL import Image

from invflow.images import data
from invflow.images.data import formats, named
from tests.images.data.test_named import _cifar, _idx, _put

#: Images that say where they come from: all pixels are their number.
NUMBERED = np.arange(60, dtype=np.uint8)[:, None, None] * np.ones((4, 5), np.uint8)
LABELS = np.arange(60) // 7 % 3


def _file(path: Path, **arrays: object) -> str:
    np.savez(path / "images.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return str(path / "images.npz")


def _of(images: data.Images) -> dict[int, str]:
    """Return the class of each image, by its number."""
    found: dict[int, str] = {}
    for part in ("train", "validation", "test"):
        labels = images.labels[part]
        numbers = getattr(images, part)[:, 0, 0, 0].tolist()
        assert len(labels) == len(numbers)
        found |= {n: images.classes[k] for n, k in zip(numbers, labels.tolist(), strict=True)}
    return found


def test_labels_stay_with_their_images(tmp_path: Path) -> None:
    images = data.load(_file(tmp_path, images=NUMBERED, labels=LABELS), labelled=True)
    assert images.classes == ("0", "1", "2")
    assert _of(images) == {i: str(k) for i, k in enumerate(LABELS)}
    parts = images.train, images.validation, images.test
    assert [len(part) for part in parts] == [48, 6, 6]
    plain = data.load(_file(tmp_path, images=NUMBERED, labels=LABELS))
    assert plain.train.equal(images.train)
    assert plain.digest == images.digest
    assert (plain.classes, dict(plain.labels), plain.labels_digest) == ((), {}, "")


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
        ("train", "train_targets", "test", "test_targets"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("trainImages", "trainLabels", "testImages", "testLabels"),
    ],
)
def test_labels_of_parts(tmp_path: Path, names: tuple[str, ...]) -> None:
    parts = NUMBERED[:48], LABELS[:48, None], NUMBERED[48:], LABELS[48:]
    path = _file(tmp_path, **dict(zip(names, parts, strict=True)))
    images = data.load(path, labelled=True)
    assert _of(images) == {i: str(k) for i, k in enumerate(LABELS)}
    assert [len(images.labels[part]) for part in ("train", "validation", "test")] == [40, 8, 12]


def test_labels_of_three_parts(tmp_path: Path) -> None:
    parts = {"train": slice(30), "val": slice(30, 44), "test": slice(44, 60)}
    arrays = {f"x_{part}": NUMBERED[rows] for part, rows in parts.items()}
    labels = {f"y_{part}": LABELS[rows] for part, rows in parts.items()}
    images = data.load(_file(tmp_path, **arrays, **labels), labelled=True)
    assert _of(images) == {i: str(k) for i, k in enumerate(LABELS)}


def test_classes_are_sorted_by_number_or_by_name(tmp_path: Path) -> None:
    names = np.array(["cat $a_1$", "a dog", "10", "<b>&"])[np.arange(60) % 4]
    images = data.load(_file(tmp_path, images=NUMBERED, labels=names), labelled=True)
    assert images.classes == ("10", "<b>&", "a dog", "cat $a_1$")
    assert _of(images) == dict(enumerate(names.tolist()))
    numbers = np.array([10, 9, -1, 100])[np.arange(60) % 4]
    images = data.load(_file(tmp_path, images=NUMBERED, labels=numbers), labelled=True)
    assert images.classes == ("-1", "9", "10", "100")
    assert _of(images) == {i: str(n) for i, n in enumerate(numbers)}
    images = data.load(_file(tmp_path, images=NUMBERED, labels=numbers > 9), labelled=True)
    assert images.classes == ("False", "True")


def test_digests_of_labels(tmp_path: Path) -> None:
    def digest(labels: np.ndarray) -> str:
        images = data.load(_file(tmp_path, images=NUMBERED, labels=labels), labelled=True)
        return images.labels_digest

    different = [LABELS, LABELS[::-1], LABELS + 1, np.array(["a", "b", "c"])[LABELS]]
    assert len({digest(labels) for labels in different}) == 4
    assert digest(LABELS) == digest(LABELS.astype(np.uint8))


def _folder(path: Path, labels: list[str]) -> str:
    for i, label in enumerate(labels):
        (path / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(NUMBERED[i]).save(path / label / f"{i:02}.png")
    return str(path)


def test_folders_are_classes(tmp_path: Path) -> None:
    names = ["a cat", "$dog$", "b/deeper", "b"]
    labels = [names[i % 4] for i in range(60)]
    images = data.load(_folder(tmp_path / "pictures", labels), labelled=True)
    assert images.classes == ("$dog$", "a cat", "b")
    assert _of(images) == {i: label.split("/")[0] for i, label in enumerate(labels)}


def test_folders_of_parts_hold_folders_of_classes(tmp_path: Path) -> None:
    labels = [f"{'test' if i % 5 == 0 else 'Train'}/{'xyz'[i % 3]}" for i in range(60)]
    path = _folder(tmp_path / "pictures", labels)
    images = data.load(path, labelled=True)
    assert images.classes == ("x", "y", "z")
    assert _of(images) == {i: label[-1] for i, label in enumerate(labels)}
    assert sorted(images.test[:, 0, 0, 0].tolist()) == list(range(0, 60, 5))
    resized = data.load(path, size=3, labelled=True)
    assert resized.shape == (1, 3, 3)
    assert _of(resized) == _of(images)


def test_published_labels() -> None:
    from sklearn.datasets import load_digits

    images = data.load("digits", labelled=True)
    assert images.classes == tuple("0123456789")
    bunch: Any = load_digits()
    expected = {
        bytes(image.astype(np.uint8)): k
        for image, k in zip(bunch.images, bunch.target, strict=True)
    }
    for part in ("train", "validation", "test"):
        for image, label in zip(getattr(images, part), images.labels[part].tolist(), strict=True):
            assert expected[bytes(image.numpy())] == label


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    return tmp_path / "invflow"


def test_mnist(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    parts = {"x_train": NUMBERED[:48], "y_train": LABELS[:48], "x_test": NUMBERED[48:]}
    np.savez(content, **parts, y_test=LABELS[48:])
    monkeypatch.setattr(named, "_MNIST_SUM", _put(cache / "mnist/mnist.npz", content.getvalue()))
    images = data.load("mnist", labelled=True)
    assert _of(images) == {i: str(k) for i, k in enumerate(LABELS)}


def test_fashion_mnist(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, rows in (("TRAIN", slice(48)), ("TEST", slice(48, 60))):
        labels = (LABELS[rows] * 4).astype(np.uint8)
        head = struct.pack(">2I", 0x801, len(labels))
        for suffix, content in (
            ("", _idx(NUMBERED[rows])),
            ("_LABELS", gzip.compress(head + labels.tobytes(), mtime=0)),
        ):
            name = f"_FASHION_{part}{suffix}"
            checksum = _put(cache / "fashion-mnist" / getattr(named, name), content)
            monkeypatch.setattr(named, f"{name}_SUM", checksum)
    images = data.load("fashion-mnist", labelled=True)
    assert images.classes == ("bag", "coat", "t-shirt")
    assert _of(images) == {i: ("t-shirt", "coat", "bag")[k] for i, k in enumerate(LABELS)}


def test_cifar10(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((32, 32, 3), np.uint8)
    batches = {f"data_batch_{i + 1}.bin": pixels[4 * i : 4 * i + 4] for i in range(5)}
    archive = _cifar({**batches, "test_batch.bin": pixels[:3]})
    path = cache / "cifar10" / "cifar-10-binary.tar.gz"
    monkeypatch.setattr(named, "_CIFAR_SUM", _put(path, archive))
    images = data.load("cifar10", labelled=True)
    assert images.classes == ("airplane", "automobile", "bird", "cat")
    names = np.array(images.classes)
    rows = np.concatenate([images.train, images.validation])[:, 0, 0, 0]
    labels = np.concatenate([images.labels["train"], images.labels["validation"]])
    assert names[labels].tolist() == names[rows % 4].tolist()  # labels begin again in each batch
    assert images.labels["test"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"short", mtime=0), "an idx file of bytes in one dimension"),
        (_idx(NUMBERED), "an idx file of bytes in one dimension"),
        (
            gzip.compress(struct.pack(">2I", 0x801, 30) + bytes(29), mtime=0),
            "must hold 30 labels, got 29 bytes",
        ),
    ],
)
def test_idx_files_of_other_things(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        formats.idx_labels(tmp_path / "a.gz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "images.npz does not say the class of each image; put the images of each class"),
        ({"fine_labels": LABELS}, "does not say the class of each image"),
        ({"labels": LABELS[:59]}, "one label for each training image, got 59 labels for 60 images"),
        (
            {"labels": LABELS / 2},
            r"an integer or a name as the label of each training image, got float64 of shape "
            r"\(60,\); save labels.astype\(int\)$",
        ),
        (
            {"labels": LABELS.astype("S")},
            r"got \|S\d+ of shape \(60,\); save labels.astype\(str\)$",
        ),
        (
            {"labels": np.eye(3, dtype=int)[LABELS]},
            r"got int64 of shape \(60, 3\); if they are one-hot, save labels.argmax\(1\)$",
        ),
        ({"labels": LABELS * 0}, "images of at least two classes, got only 0"),
        ({"labels": LABELS, "y_train": LABELS}, "must hold each part under one name, got both"),
        (
            {"labels": np.arange(60)},
            r"holds validation images of the class '\d+', but no training images of it",
        ),
    ],
)
def test_bad_labels(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = _file(tmp_path, images=NUMBERED, **arrays)
    if "y_train" not in arrays:
        assert len(data.load(path).train) == 48  # an unconditional model does not read them
    with pytest.raises(ValueError, match=message):
        data.load(path, labelled=True)


def test_labels_that_a_part_lacks(tmp_path: Path) -> None:
    arrays = {"x_train": NUMBERED[:48], "y_train": LABELS[:48], "x_test": NUMBERED[48:]}
    with pytest.raises(ValueError, match="each test image, got 0 labels for 12 images"):
        data.load(_file(tmp_path, **arrays), labelled=True)
    more = {**arrays, "y_test": LABELS[48:], "y_val": LABELS[:3]}
    with pytest.raises(ValueError, match="each validation image, got 3 labels for 0 images"):
        data.load(_file(tmp_path, **more), labelled=True)
    with pytest.raises(ValueError, match="holds test images of the class '7', but no training"):
        data.load(_file(tmp_path, **arrays, y_test=np.full(12, 7)), labelled=True)


def test_bad_folders(tmp_path: Path) -> None:
    flat = _folder(tmp_path / "flat", ["."] * 60)
    with pytest.raises(ValueError, match="flat does not say the class of each image"):
        data.load(flat, labelled=True)
    parts = _folder(tmp_path / "parts", ["train"] * 40 + ["test"] * 20)
    with pytest.raises(ValueError, match="parts does not say the class of each image"):
        data.load(parts, labelled=True)
    mixed = _folder(tmp_path / "mixed", ["a", "b", "."] * 20)
    assert sum(map(len, (data.load(mixed).train, data.load(mixed).test))) == 54
    message = r"must hold each image in the folder of its class, got 02\.png, .* outside of folders"
    with pytest.raises(ValueError, match=message):
        data.load(mixed, labelled=True)
    only = _folder(tmp_path / "only", ["train/a", "train/b"] * 20 + ["test/a", "test/c"] * 10)
    with pytest.raises(ValueError, match="only holds test images of the class 'c', but no"):
        data.load(only, labelled=True)
    with pytest.raises(ValueError, match=r"at least two classes, got only a$"):
        data.load(_folder(tmp_path / "one", ["a"] * 60), labelled=True)


def test_named_images_without_classes() -> None:
    with pytest.raises(ValueError, match=r"^photographs has no classes; choose other images, or"):
        data.load("photographs", labelled=True)


def test_labels_of_images_to_score(tmp_path: Path) -> None:
    fit = 256, (1, 4, 5)
    path = _file(tmp_path, images=NUMBERED, labels=LABELS)
    levels, labels = data.scorable_labelled(path, *fit, ("0", "other", "1", "2"))
    assert levels.equal(data.scorable(path, *fit))
    assert labels.tolist() == [(0, 2, 3)[k] for k in LABELS]
    with pytest.raises(
        ValueError, match=r"npz must hold only images of the classes of the model \(0, 1\), got '2'"
    ):
        data.scorable_labelled(path, *fit, ("0", "1"))
    with pytest.raises(ValueError, match=r"model \(0, 3, 4, 5, 6, 7, 8, 9, 10, 11, \.\.\.\), got"):
        data.scorable_labelled(path, *fit, ("0", *map(str, range(3, 20))))
    parts = {"x_train": NUMBERED[:48], "y_train": LABELS[:48], "x_test": NUMBERED[48:]}
    path = _file(tmp_path, **parts, y_test=LABELS[48:])
    levels, labels = data.scorable_labelled(path, *fit, ("0", "1", "2"))
    assert levels[:, 0, 0, 0].tolist() == list(range(48, 60))
    assert labels.tolist() == LABELS[48:].tolist()
    digits = data.load("digits", labelled=True)
    levels, labels = data.scorable_labelled("digits", 17, (1, 8, 8), digits.classes)
    assert levels.equal(digits.test)
    assert labels.equal(digits.labels["test"])
