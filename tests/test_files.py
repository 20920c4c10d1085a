from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import torch

from invflow import _files, _saving


def test_text_is_written_with_its_directories(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text.txt"
    _files.write_text(path, "grün\n")
    assert path.read_text(encoding="utf-8") == "grün\n"
    assert [p.name for p in path.parent.iterdir()] == ["text.txt"]


def _fail(path: Path) -> None:
    with _files.replacing(path) as temporary:
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
    _saving.write_tensors(path, {"a": torch.zeros(2)})  # whose writer makes the file anew
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
