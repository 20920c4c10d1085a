"""Files from users: whether they can be read at all, and what readers say of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: Longest message of another library that is passed on.
LONGEST_MESSAGE = 300


def check_readable(path: Path) -> None:
    """Check that a path leads to a regular, non-empty file that may be read.

    Directories, pipes and devices are refused, so that reading neither blocks nor never ends.

    Raises:
        FileNotFoundError: if there is no such file.
        OSError: if the path cannot be followed, or the file may not be read.
        ValueError: if it is not a regular file, or is empty.

    Example:
        >>> check_readable(Path("none.csv"))
        Traceback (most recent call last):
        FileNotFoundError: none.csv does not exist
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist") from error
    except OSError as error:  # a loop of links, a folder that may not be entered, a name too long
        raise OSError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a path: {error}") from error
    if stat.S_ISDIR(found.st_mode):
        raise ValueError(f"{path} is a directory; expected a file")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is not a regular file, but a pipe, socket or device")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path} cannot be read: permission denied")
    if found.st_size == 0:
        raise ValueError(f"{path} is empty")


def first_line(error: BaseException) -> str:
    """Return the message of an error, on one line of limited length."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= LONGEST_MESSAGE else line[:LONGEST_MESSAGE] + "..."
