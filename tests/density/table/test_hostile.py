"""Files that are not what they say: one line that names the file, and little memory."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from invflow import _readable
from invflow.density.table import Frame, Parquet, limits, read


def _npy(shape: str, dtype: str = "<f8", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def _npz(path: Path, content: bytes, declared: int | None = None) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", content)
    if declared is not None:  # the size in the central directory, which is read first
        whole = bytearray(path.read_bytes())
        place = whole.index(b"PK\x01\x02") + 24
        whole[place : place + 4] = declared.to_bytes(4, "little")
        path.write_bytes(whole)


def _objects() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([["a", None]], dtype=object), allow_pickle=True)
    return stream.getvalue()


def _write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def _loop(path: Path) -> None:
    other = path.with_name("other" + path.suffix)
    path.symlink_to(other)
    other.symlink_to(path)


def _many_columns(path: Path) -> None:
    parquet.write_table(pa.table({f"c{i}": [1.0] for i in range(30)}), path)


TIB = 2**40
SIZE = "it is truncated or damaged: shape"
HEADER = "its header is damaged"
LINE = "has a line of more than 1,048,576 bytes"
#: Name of a file, how it is made, and what is said of it.
HOSTILE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "1.5 TiB": ("a.npy", _write(_npy(f"({TIB // 10}, 15)")), SIZE),
    "1.5 TiB in an archive": ("a.npz", lambda p: _npz(p, _npy(f"({TIB // 10}, 15)")), SIZE),
    "4 GB declared": (
        "a.npz",
        lambda p: _npz(p, _npy("(300000000, 1)"), 2**32 - 2),
        "expands from",
    ),
    "beyond 64 bits": ("a.npy", _write(_npy(f"({2**70}, {2**70})")), SIZE),
    "negative": ("a.npy", _write(_npy("(-2, 2)", data=bytes(64))), SIZE),
    "no bytes for any number of rows": ("a.npy", _write(_npy(f"({TIB}, 2)", "<U0")), SIZE),
    "no rows of many columns": ("a.npy", _write(_npy(f"(0, {TIB})")), "columns; at most"),
    "4,300 digits": ("a.npy", _write(_npy(f"({'9' * 4400}, 2)")), HEADER),
    "brackets": ("a.npy", _write(_npy("(" * 9000)), HEADER),
    "code": ("a.npy", _write(_npy("__import__('os').getpid()")), HEADER),
    "cut off": ("a.npy", _write(_npy("(3, 2)", data=bytes(40))), SIZE),
    "a version to come": (
        "a.npy",
        _write(b"\x93NUMPY\x07\x00" + bytes(90)),
        HEADER,
    ),
    "objects": ("a.npy", _write(_objects()), "holds Python objects"),
    "objects in an archive": ("a.npz", lambda p: _npz(p, _objects()), "holds Python objects"),
    "text in an archive": ("a.npz", lambda p: _npz(p, b"a,b"), HEADER),
    "half an archive": (
        "a.npz",
        lambda p: (_npz(p, _npy("(3, 2)", data=bytes(48))), p.write_bytes(p.read_bytes()[:60])),
        "a.npz",
    ),
    "not compressed": ("a.csv.gz", _write(b"a,b\n1,2\n"), "Not a gzipped file"),
    "half compressed": ("a.csv.gz", _write(gzip.compress(b"a,b\n" * 999)[:20]), "a.csv.gz"),
    "two encodings": ("a.csv", _write("ö,b\n1,".encode() + b"\xf6\n"), "is not UTF-8 text"),
    "half a character": ("a.csv", _write("a,b\n1,ö".encode()[:-1]), "is not UTF-8 text"),
    "binary": ("a.csv", _write(b"a,b\n1,\x002\n"), "it has NUL bytes"),
    "NUL": ("a.csv", _write(bytes(100)), "it has NUL bytes"),
    "one line of 10 MB": ("a.csv", _write(b"x" * 10**7), LINE),
    "one line of 10 MB of names": ("a.csv", _write(b"x," * 5_000_000), LINE),
    "one line of 10 MB compressed": ("a.csv.gz", _write(gzip.compress(b"x" * 10**7)), LINE),
    "a second line of 10 MB": ("a.csv", _write(b"a,b\n" + b"1," * 5_000_000), LINE),
    "a last line of 2 MB": ("a.tsv", _write(b"a\tb\n" + b"1\t2\r" * 10**6 + b"1" * 2**21), LINE),
    "half a Parquet file": (
        "a.parquet",
        lambda p: (_many_columns(p), p.write_bytes(p.read_bytes()[:500])),
        "is not a complete Parquet file",
    ),
    "no Parquet file": ("a.parquet", _write(b"PAR1" * 9), "is not a complete Parquet file"),
    "an empty file": ("a.parquet", _write(b""), "is empty"),
    "a loop of links": ("a.csv", _loop, "Too many levels of symbolic links"),
    "a link to nothing": ("a.csv", lambda p: p.symlink_to("none"), "does not exist"),
    "a directory": ("a.npz", Path.mkdir, "is a directory"),
    "a pipe": ("a.csv", os.mkfifo, "is not a regular file"),
    "a device": ("a.npy", lambda p: p.symlink_to("/dev/zero"), "is not a regular file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_one_line_that_names_the_file(tmp_path: Path, case: str) -> None:
    name, make, message = HOSTILE[case]
    make(tmp_path / name)
    with pytest.raises((ValueError, OSError)) as caught:
        read(tmp_path / name)
    line = str(caught.value)
    assert message in line
    assert str(tmp_path / name) in line
    assert "\n" not in line
    assert len(line) < 1000


#: Reads every bad file in a folder, with 32 MiB more memory than it takes to read small ones. Files
#: may expand to 80 MiB here, a third of `HARMLESS`.
CAPPED = """
import resource, sys
from pathlib import Path
from invflow import _readable
from invflow.density.table import read
folder = Path(sys.argv[1])
_readable.HARMLESS = 80 * 2**20
read(folder / "small.csv"), read(folder / "small.parquet"), read(folder / "small.npz")

def used():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))

cap = used() + 32 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (cap, resource.RLIM_INFINITY))
for path in sorted(folder.glob("bad*")):
    try:
        read(path)
    except (ValueError, OSError) as error:
        print(error)
    assert used() <= cap
"""


def test_bombs_take_little_memory(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, 2.0], "b": [0.5, 1.0]})
    frame.to_csv(tmp_path / "small.csv", index=False)
    frame.to_parquet(tmp_path / "small.parquet")
    np.savez(tmp_path / "small.npz", frame.to_numpy())
    mib, zeros = 96, bytes(2**20)
    with (
        zipfile.ZipFile(tmp_path / "bad.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("data.npy", "w") as file,
    ):
        file.write(_npy(f"({mib * 2**16}, 2)"))
        for _ in range(mib):
            file.write(zeros)
    with gzip.open(tmp_path / "bad.csv.gz", "w", compresslevel=1) as file:
        file.write(b"a,b\n")
        for _ in range(mib):
            file.write(b"0,0\n" * 2**18)
    column = pa.array(np.zeros(2**22))
    table = pa.table({f"c{i}": column for i in range(mib // 32)})
    parquet.write_table(table, tmp_path / "bad.parquet", row_group_size=2**22)
    (tmp_path / "bad.npy").write_bytes(_npy(f"({2**37}, 1)", "<f8"))
    names = ["bad.csv.gz", "bad.npy", "bad.npz", "bad.parquet"]
    assert all((tmp_path / name).stat().st_size < 2**19 for name in names)
    done = subprocess.run(
        [sys.executable, "-c", CAPPED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    for name, line in zip(names, lines, strict=True):
        assert str(tmp_path / name) in line
        assert "is truncated or damaged" in line if name == "bad.npy" else "expands from" in line


@contextmanager
def _nobody() -> Generator[None]:
    """Give up the rights of root, who may read everything."""
    root = os.geteuid() == 0
    try:
        if root:
            os.setresuid(65534, 65534, 0)  # the saved one, to return to
        yield
    finally:
        if root:
            os.setresuid(0, 0, 0)


def test_what_may_not_be_read() -> None:
    # Not below pytest's folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        paths = [folder / "a.csv", folder / "inside" / "a.csv"]
        paths[1].parent.mkdir()
        for path in paths:
            path.write_text("a,b\n1,2\n")
            read(path)
        paths[0].chmod(0)
        paths[1].parent.chmod(0)
        try:
            for path in paths:
                message = re.escape(f"{path} cannot be read: permission denied")
                with _nobody(), pytest.raises(OSError, match=f"(?i)^{message}$"):
                    read(path)
        finally:
            paths[1].parent.chmod(0o755)


def test_what_compresses_well_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files may expand by any factor, and large ones by a plausible one."""
    zeros = pd.DataFrame(np.zeros((20_000, 2)), columns=["a", "b"])
    zeros.to_csv(tmp_path / "a.csv.gz", index=False)
    zeros.to_parquet(tmp_path / "a.parquet")
    np.savez_compressed(tmp_path / "a.npz", zeros.to_numpy())
    for name in ("a.csv.gz", "a.parquet", "a.npz"):
        assert read(tmp_path / name).blocks == (20_000,)
    monkeypatch.setattr(_readable, "HARMLESS", 0)
    monkeypatch.setattr(_readable, "MOST_EXPANSION", 20)
    for name in ("a.csv.gz", "a.parquet", "a.npz"):
        with pytest.raises(ValueError, match=rf"{name} expands .* bytes or more, which"):
            read(tmp_path / name)


def test_too_many_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_COLUMNS", 20)
    _many_columns(tmp_path / "a.parquet")
    frame = pd.read_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    np.save(tmp_path / "a.npy", frame.to_numpy())
    np.savez(tmp_path / "a.npz", frame.to_numpy())
    for name in ("a.parquet", "a.csv", "a.npy", "a.npz"):
        with pytest.raises(ValueError, match=rf"{name}.* has 30 columns; at most 20"):
            read(tmp_path / name)


def test_a_parquet_file_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _many_columns(tmp_path / "a.parquet")

    def whole(self: Parquet) -> Frame:
        raise MemoryError("malloc of size 1 failed")

    monkeypatch.setattr(Parquet, "whole", whole)
    with pytest.raises(ValueError, match=r"a\.parquet does not fit into memory: malloc of size 1"):
        read(tmp_path / "a.parquet")
