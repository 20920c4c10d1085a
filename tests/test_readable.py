"""Whether files from users can be read at all, and what readers say of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from invflow._readable import LONGEST_MESSAGE, check_readable, first_line


def _loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, FileNotFoundError, "file does not exist"),
        (Path.touch, ValueError, "file is empty"),
        (Path.mkdir, ValueError, "file is a directory; expected a file"),
        (os.mkfifo, ValueError, "file is not a regular file, but a pipe, socket or device"),
        (_loop, OSError, "file cannot be read: Too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path, make: Callable[[Path], object], error: type[Exception], message: str
) -> None:
    make(tmp_path / "file")
    with pytest.raises(error, match=message) as caught:
        check_readable(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_names_that_are_no_paths() -> None:
    with pytest.raises(OSError, match="cannot be read: File name too long"):
        check_readable(Path("a" * 5000))
    with pytest.raises(ValueError, match=r"'a\\x00b' is not a path: .*embedded null"):
        check_readable(Path("a\0b"))


def test_a_file_with_a_byte(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to("file")
    check_readable(tmp_path / "link")


def test_messages_are_one_short_line() -> None:
    assert first_line(ValueError("\n one\n two")) == "one"
    assert first_line(MemoryError()) == "MemoryError"
    assert first_line(OSError("a" * 999)) == "a" * LONGEST_MESSAGE + "..."
