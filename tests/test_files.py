from __future__ import annotations

import os
from pathlib import Path

import pytest

from invflow import _files


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


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("")
    _files.write_text(tmp_path / "text.txt", "")
    expected = os.stat(tmp_path / "plain.txt").st_mode
    assert os.stat(tmp_path / "text.txt").st_mode == expected
