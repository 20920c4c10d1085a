from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from invflow import MAF, _files, _json, _readable, _tensors


def test_text_is_written_with_its_directories(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text.txt"
    _files.write_text(path, "grün\n")
    assert path.read_text(encoding="utf-8") == "grün\n"
    assert [p.name for p in path.parent.iterdir()] == ["text.txt"]


def _fail(*paths: Path) -> None:
    with _files.replacing_all(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
        raise KeyError


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    _files.write_text(path, "old")
    with pytest.raises(KeyError):
        _fail(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        _fail(tmp_path / "text.txt")
    assert not list(tmp_path.iterdir())


def test_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    _files.write_text(path, "old")
    with _files.replacing(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        _files.write_text(tmp_path / "text.txt", "")
    finally:
        os.umask(before)
    assert _mode(tmp_path / "text.txt") == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_permissions_stay_when_a_file_is_rewritten(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "text.txt"
    path.write_text("old")
    path.chmod(mode)
    _files.write_text(path, "new")
    assert path.read_text() == "new"
    assert _mode(path) == mode
    _tensors.write(path, {"a": torch.zeros(2)})  # whose writer creates the file again
    assert _mode(path) == mode


def test_owner_and_group_stay_where_the_system_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("old")
    if os.getuid() == 0:
        os.chown(path, 1234, 4321)
        path.chmod(0o640)
        _files.write_text(path, "new")
        assert (path.stat().st_uid, path.stat().st_gid, _mode(path)) == (1234, 4321, 0o640)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    _files.write_text(path, "newer")
    assert path.read_text() == "newer"
    assert path.stat().st_uid == os.getuid()


def test_permissions_stay_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("old")
    path.chmod(0o640)
    with pytest.raises(KeyError):
        _fail(path)
    assert _mode(path) == 0o640


def test_nobody_else_reads_what_is_not_whole(tmp_path: Path) -> None:
    with _files.replacing(tmp_path / "text.txt") as temporary:
        assert _mode(temporary) == 0o600


@pytest.mark.parametrize("there", [True, False])
def test_links_stay_and_what_they_point_to_is_rewritten(tmp_path: Path, there: bool) -> None:
    target, link = tmp_path / "elsewhere" / "text.txt", tmp_path / "link.txt"
    target.parent.mkdir()
    if there:
        target.write_text("old")
        target.chmod(0o640)
    link.symlink_to(target)
    _files.write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert not target.is_symlink()
    if there:
        assert _mode(target) == 0o640
    assert list(target.parent.iterdir()) == [target]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a regular file"):
        _files.write_text(tmp_path, "")


@pytest.mark.parametrize("name", ["directory", "pipe", "device", "loop", "missing", "below a file"])
def test_only_regular_files_are_read(name: str, tmp_path: Path) -> None:
    """Nothing is waited for: a pipe has no writer, and /dev/zero no end."""
    path, expected = tmp_path / "a", "a"
    match name:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
            expected = "is not a regular file"
        case "device":
            path.symlink_to("/dev/zero")
            expected = "is not a regular file"
        case "loop":
            path.symlink_to(tmp_path / "b")
            (tmp_path / "b").symlink_to(path)
        case "below a file":
            path.touch()
            path = path / "b"
        case _:
            expected = "a does not exist"
    for read in (_readable.read, _json.read, _tensors.read, _tensors.digest):
        with pytest.raises((OSError, ValueError), match=expected) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.name)])
def test_what_cannot_be_replaced_stays(make: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "a"
    make(path)
    before = os.lstat(path)
    with pytest.raises((OSError, ValueError), match=str(path)):
        _files.write_text(path, "new")
    assert os.lstat(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_several_files_are_replaced_together(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_text("old")
    with pytest.raises(KeyError):
        _fail(*paths)
    assert [path.read_text() for path in paths] == ["old", "old"]
    with _files.replacing_all(paths) as (first, second):
        first.write_text("new")
        assert [path.read_text() for path in paths] == ["old", "old"]
        second.write_text("newer")
    assert [path.read_text() for path in paths] == ["new", "newer"]
    assert sorted(tmp_path.iterdir()) == paths


#: What writes a file of more than 100 kB.
WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: _files.write_text(path, "x" * 200_000),
    "tensors": lambda path: _tensors.write(path, {"a": torch.zeros(50_000)}),
    "model": lambda path: MAF(2, hidden_features=(200, 200)).save_pretrained(path.parent),
}


def _on_a_full_disk(write: Callable[[Path], None], path: Path) -> None:
    """Write where the system lets files grow to 100 kB, which fails as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with pytest.raises(OSError) as caught:  # noqa: PT011
        write(path)
    assert caught.value.errno in (errno.EFBIG, None)
    assert str(path.parent) in str(caught.value)
    assert "/." not in str(caught.value)  # no temporary name
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk(writer: str, there: bool, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    if there:
        path.write_text("old")
        MAF(2, hidden_features=(4,)).save_pretrained(tmp_path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    process = multiprocessing.get_context("fork").Process(
        target=_on_a_full_disk, args=(WRITERS[writer], path)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def _no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("function", ["fsync", "write"])
def test_no_space_left(function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "text.txt"
    path.write_text("old")
    owner, name = (os, "fsync") if function == "fsync" else (Path, "write_text")
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, _no_space)
        with pytest.raises(OSError, match=f"No space left on device: '{path}'$"):
            _files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_without_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    _tensors.write(path, {"a": torch.zeros(5)})

    def refuse(*_: object, **options: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes.")

    header = _tensors.header(path)
    monkeypatch.setattr(_tensors, "_header", lambda *_: (b"", header))
    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(OSError, match=f"Cannot allocate memory: '{path}'$"):
        _tensors.read(path)
