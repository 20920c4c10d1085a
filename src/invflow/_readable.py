"""Files that are read without trust: whether they can be read at all, and how large they may be."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

#: Number of bytes above which `read` refuses a file.
LARGEST = 2**27
#: The most bytes that one byte of a file may expand to, in files that expand beyond `HARMLESS`.
MOST_EXPANSION = 200
#: Expanded size in bytes that is always accepted.
HARMLESS = 2**28
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


def check_expansion(path: Path, expanded: int, size: int) -> None:
    """Check the size that a file expands to, before memory is used.

    Args:
        path: of the file.
        expanded: its size in memory, in bytes, as far as known.
        size: of the file, in bytes.

    Raises:
        ValueError: if it expands too much.
    """
    if expanded > max(HARMLESS, MOST_EXPANSION * size):
        raise ValueError(
            f"{path} expands from {size:,} to {expanded:,} bytes or more, which looks like damage "
            "or an attack; if it is right, save it uncompressed"
        )


@contextmanager
def opened(path: Path) -> Generator[BufferedReader]:
    """Open a file for reading.

    Raises:
        OSError, ValueError: as `check_readable`.
    """
    check_readable(path)
    with path.open("rb") as file:
        yield file


def read(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a file.

    Args:
        path: of the file.
        largest: number of bytes that it may have.

    Raises:
        OSError: if it does not fit into memory.
        OSError, ValueError: as `check_readable`.
        ValueError: if it is larger than `largest`.
    """
    with opened(path) as file, memory_for(path):
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise ValueError(f"{path} has {size:,} bytes, at most {largest:,} were expected")
        return file.read()


@contextmanager
def memory_for(path: Path) -> Generator[None]:
    """Turn the allocator's refusal into an error that names a file.

    Raises:
        OSError: if memory runs out in the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):  # PyTorch's has no class
            raise
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), str(path)) from error


def first_line(error: BaseException) -> str:
    """Return the message of an error, on one line of limited length."""
    return shortened((str(error).strip().splitlines() or [type(error).__name__])[0])


def shortened(line: str) -> str:
    """Return a line, cut off after the longest message that is passed on."""
    return line if len(line) <= LONGEST_MESSAGE else line[:LONGEST_MESSAGE] + "..."
