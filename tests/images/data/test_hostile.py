"""Files that claim to be huge, or are not files at all: one line, and little memory."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invflow.images import data


def _header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    content = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue()


def _zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _npy_claiming_too_much(path: Path) -> Path:
    (path / "a.npy").write_bytes(_header((3 * 2**39,)) + bytes(100))
    return path / "a.npy"


def _npz_claiming_too_much(path: Path) -> Path:
    return _zip(path / "a.npz", {"images.npy": _header((2**31, 768, 1)) + bytes(100)})


def _sparse(path: Path) -> Path:
    """A file of 1.5 TiB that takes a few blocks on the disk."""
    with (path / "a.npy").open("wb") as file:
        file.write(_header((3 * 2**20, 2**9, 2**10)))
        try:
            file.truncate(file.tell() + 3 * 2**39)
        except OSError:
            pytest.skip("needs a file system for files of 1.5 TiB")
    return path / "a.npy"


def _bomb(path: Path) -> Path:
    """640 MiB of zeros in 3 MB."""
    member = _header((640, 2**10, 2**10)) + bytes(640 * 2**20)
    return _zip(path / "a.npz", {"images.npy": member})


def _bomb_of_many(path: Path) -> Path:
    """Many members of 8 MiB, none of which is large by itself."""
    member = _header((8, 2**10, 2**10)) + bytes(2**23)
    return _zip(path / "a.npz", {f"a{i}.npy": member for i in range(40)})


def _picture_bomb(path: Path) -> Path:
    """A PNG of 100,000 x 100,000 pixels, as its header says."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big")
            + name
            + content
            + zlib.crc32(name + content).to_bytes(4, "big")
        )

    size = (100_000).to_bytes(4, "big")
    head = chunk(b"IHDR", size + size + bytes([8, 0, 0, 0, 0]))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    (path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b""))
    return path


def _objects(path: Path) -> Path:
    np.save(path / "a.npy", np.array([{"a": 1}] * 20, object))
    return path / "a.npy"


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "npy header": (_npy_claiming_too_much, "a.npy cannot be read: it is truncated or damaged: "),
    "npz header": (_npz_claiming_too_much, "a.npz cannot be read: array 'images': it is trunc"),
    "sparse": (_sparse, "a.npy cannot be read: it does not fit into memory"),
    "bomb": (_bomb, "to 671,088,768 bytes or more, which looks like damage"),
    "bomb of many": (_bomb_of_many, "bytes or more, which looks like damage or an attack"),
    "picture": (
        _picture_bomb,
        "a.png cannot be read: it has more than 178,956,970 pixels; make it",
    ),
    "objects": (_objects, "a.npy cannot be read: it holds Python objects"),
}
#: Prints one line for each path, with half a gigabyte of memory beside what the imports took.
LIMITED = """
    import resource, sys
    from invflow.images import data
    from PIL import Image, PngImagePlugin
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**29, most))
    for path in sys.argv[1:]:
        try:
            data.load(path)
        except ValueError as error:
            print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_little_memory(tmp_path: Path) -> None:
    paths = []
    for name, (make, _) in HOSTILE.items():
        (tmp_path / name).mkdir()
        paths.append(str(make(tmp_path / name)))
    code = textwrap.dedent(LIMITED)
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(HOSTILE)
    for line, path, (_, message) in zip(lines, paths, HOSTILE.values(), strict=True):
        assert line.startswith(path)
        assert message in line


def test_zeros_that_compress_well_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((5000, 28, 28), np.uint8))
    with pytest.warns(UserWarning, match="500 of 500 test images are also training"):
        assert len(data.load(str(tmp_path / "a.npz")).train) == 4000


def test_other_members_of_an_archive_are_ignored(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.arange(12 * 6, dtype=np.uint8).reshape(12, 2, 3))
    path = _zip(tmp_path / "a.npz", {"read me.txt": b"hello", "images.npy": content.getvalue()})
    assert data.load(str(path)).shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"\x93NUMPY\x03\x00" + bytes(50), "its header is damaged"),
        (b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000, "its header is damaged"),
        (_header((10**30, 10**30)), "it is truncated or damaged"),
        (_header((-5, 2, 2)) + bytes(20), "it is truncated or damaged"),
        (_header((10, 2, 2), "<U1") + bytes(160), "must hold numbers"),
        (_header((0, 10**12, 10**12)), "array is too big"),
    ],
)
def test_damaged_headers(tmp_path: Path, content: bytes, cause: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=cause) as caught:
        data.load(str(tmp_path / "a.npy"))
    assert str(tmp_path / "a.npy") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ValueError, match="is not a regular file, but a pipe, socket or device"):
        data.load(str(tmp_path / "pipe.npz"))
    (tmp_path / "a.npz").symlink_to(tmp_path / "b.npz")
    (tmp_path / "b.npz").symlink_to(tmp_path / "a.npz")
    (tmp_path / "c.npz").symlink_to(tmp_path / "nothing")
    for name in ("a.npz", "c.npz"):
        with pytest.raises(FileNotFoundError, match=f"{name} is a broken link"):
            data.load(str(tmp_path / name))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(ValueError, match=r"folder\.npz has no image files"):
        data.load(str(tmp_path / "folder.npz"))


def test_what_is_not_a_file_in_a_folder(tmp_path: Path) -> None:
    for i in range(12):
        Image.fromarray(np.full((2, 3), 20 * i, np.uint8)).save(tmp_path / f"{i:02}.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.warns(UserWarning, match=r"ignored 2 file.s. that are not .*: loop.png, pipe.png"):
        data.load(str(tmp_path))


def test_unreadable_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may silently train without a class of images."""
    (tmp_path / "cats").mkdir()
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "cats" / "a.png")
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith("cats"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(PermissionError, match=r"Permission denied.*cats"):
        data.load(str(tmp_path))


def test_files_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "a.png")

    def denied(path: Path, mode: str) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with (
        pytest.warns(UserWarning, match=r"a\.png cannot be read: permission denied$"),
        pytest.raises(ValueError, match=r"a\.png cannot be read: permission denied$"),
    ):
        data.load(str(tmp_path))
