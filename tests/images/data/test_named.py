"""Published data sets, from small files of the same formats that lie in the cache already."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import struct
import tarfile
from pathlib import Path

import numpy as np
import pooch
import pytest
from scipy.io import savemat

from invflow.images import data
from invflow.images.data import formats, named

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (30, 6, 5), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
FACES = RANDOM.integers(0, 256, (20, 28, 20), dtype=np.uint8)


def _idx(images: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(">4I", 0x803, *images.shape) + images.tobytes(), mtime=0)


def _cifar(batches: dict[str, np.ndarray]) -> bytes:
    """Return an archive of batches, each image a label and its channels one after the other."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, images in batches.items():
            rows = b"".join(
                bytes([i % 10]) + b"".join(image[..., c].tobytes() for c in range(3))
                for i, image in enumerate(images)
            )
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(rows)
            archive.addfile(member, io.BytesIO(rows))
        archive.addfile(tarfile.TarInfo("../../outside.bin"))
    return content.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in a folder of its own; nothing is downloaded."""

    def offline(*arguments: object, **keywords: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr("pooch.core.stream_download", offline)
    return tmp_path / "invflow"


def _put(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_mnist(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    np.savez(content, x_train=GREY, y_train=np.arange(30), x_test=GREY[:4], y_test=np.arange(4))
    checksum = _put(cache / "mnist" / "mnist.npz", content.getvalue())
    monkeypatch.setattr(named, "_MNIST_SUM", checksum)
    images = data.load("mnist")
    assert (images.name, images.levels, images.binary) == ("mnist", 256, True)
    assert images.test[:, 0].tolist() == GREY[:4].tolist()


def test_fashion_mnist(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, images in (("TRAIN", GREY), ("TEST", GREY[:4] // 2)):
        name = getattr(named, f"_FASHION_{part}")
        checksum = _put(cache / "fashion-mnist" / name, _idx(images))
        monkeypatch.setattr(named, f"_FASHION_{part}_SUM", checksum)
    loaded = data.load("fashion-mnist")
    assert (loaded.levels, loaded.binary) == (256, False)
    assert loaded.train[:, 0].tolist() == GREY[:25].tolist()
    assert loaded.validation[:, 0].tolist() == GREY[25:].tolist()
    assert loaded.test[:, 0].tolist() == (GREY[:4] // 2).tolist()


def test_cifar10(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = [2, 0, 4, 1, 3]  # as in the archive itself, batches are in no order
    batches = {f"data_batch_{i + 1}.bin": COLOUR[2 * i : 2 * i + 2] for i in order}
    batches["test_batch.bin"] = COLOUR[::3]
    path = cache / "cifar10" / "cifar-10-binary.tar.gz"
    monkeypatch.setattr(named, "_CIFAR_SUM", _put(path, _cifar(batches)))
    images = data.load("cifar10")
    assert (images.shape, images.levels, images.binary) == ((3, 32, 32), 256, False)
    rows = np.concatenate([images.train, images.validation])
    assert np.moveaxis(rows, 1, -1).tolist() == COLOUR.tolist()
    assert np.moveaxis(images.test.numpy(), 1, -1).tolist() == COLOUR[::3].tolist()
    assert {file.name for file in path.parent.iterdir()} == {path.name}
    assert not list(cache.glob("**/outside.bin"))


def test_freyfaces(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    savemat(content, {"ff": FACES.reshape(20, 560).T})
    checksum = _put(cache / "freyfaces" / "frey_rawface.mat", content.getvalue())
    monkeypatch.setattr(named, "_FREY_SUM", checksum)
    images = data.load("freyfaces")
    assert (images.shape, images.levels, images.binary) == ((1, 28, 20), 256, False)
    assert [len(p) for p in (images.train, images.validation, images.test)] == [16, 2, 2]
    parts = np.concatenate([images.train, images.validation, images.test])[:, 0]
    assert sorted(map(bytes, parts)) == sorted(map(bytes, FACES))
    assert images.digest == data.load("freyfaces").digest


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "freyfaces"])
def test_without_a_connection(cache: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(pooch, "retrieve", _offline)
    with pytest.raises(OSError, match=f"{name} could not be downloaded; give an .npz file") as e:
        data.load(name)
    assert "\n" not in str(e.value)


def test_files_with_another_checksum_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(url: str, file: str, pooch: object) -> None:
        Path(file).write_bytes(_cifar({"test_batch.bin": COLOUR}))

    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr("pooch.core.choose_downloader", lambda *arguments, **keywords: download)
    with pytest.raises(OSError, match=r"cifar10 could not be downloaded; .* does not match"):
        data.load("cifar10")
    assert not list(tmp_path.glob("**/cifar-10-binary.tar.gz"))


def _offline(url: str, checksum: str, *arguments: object) -> None:
    assert re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", checksum)
    raise OSError(f"no connection to {url}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"short", mtime=0), "an idx file of bytes in three dimensions"),
        (gzip.compress(struct.pack(">2I", 0x801, 30) + bytes(30), mtime=0), "in three dimensions"),
        (_idx(GREY[..., None].astype(">f4")[..., 0]), "30 images of 6 x 5, got 3600 bytes"),
        (
            gzip.compress(gzip.decompress(_idx(GREY))[:-1], mtime=0),
            "must hold 30 images of 6 x 5, got 899 bytes",
        ),
    ],
)
def test_idx_files_of_other_things(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        formats.idx(tmp_path / "a.gz")


def test_archives_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(_cifar({"test_batch.bin": COLOUR[:, 1:]}))
    for name in ("test_batch.bin", "data_batch_1.bin"):
        with pytest.raises(ValueError, match=f"whole images of 3073 bytes in {name}"):
            formats.cifar(tmp_path / "a.tar.gz", [name])


@pytest.mark.parametrize(
    "content", [{"x": FACES}, {"ff": GREY}, {"ff": FACES.reshape(-1, 560) / 2}]
)
def test_matlab_files_of_other_things(tmp_path: Path, content: dict[str, np.ndarray]) -> None:
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(ValueError, match=r"must hold bytes ff of shape \(560, count\)"):
        formats.frey(tmp_path / "a.mat")
