"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a temporary name beside `path`; rename it to `path` if the block ends well.

    Whatever was at `path` before stays until then, and stays for good if the block fails. A file
    that was there keeps its permissions, and its owner and group where the system allows it; a new
    one has those of any new file. A symbolic link is followed: its target is replaced, and the link
    stays.

    Raises:
        OSError: if the disk is full, or the file cannot be written; the error names `path`.
        ValueError: if `path` is something other than a regular file.
    """
    with replacing_all([path]) as (temporary,):
        yield temporary


@contextmanager
def replacing_all(paths: Sequence[Path]) -> Generator[list[Path]]:
    """Do what `replacing` does for several files that belong together.

    All of them are whole on disk before the first is renamed, so that only a kill between two
    renames leaves some files old and some new. The files are renamed in the order given.

    Raises:
        OSError: if the disk is full, or a file cannot be written.
        ValueError: if a path is something other than a regular file.
    """
    places = [_place(path) for path in paths]
    token = secrets.token_hex(4)
    temporaries = [each.with_name(temporary_name(each, token)) for each in places]
    try:
        like = [
            _created(temporary, place) for temporary, place in zip(temporaries, places, strict=True)
        ]
        yield temporaries
        for temporary, owned in zip(temporaries, like, strict=True):
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            _give(temporary, owned.st_uid, owned.st_gid)
            temporary.chmod(stat.S_IMODE(owned.st_mode))
        for temporary, place in zip(temporaries, places, strict=True):
            temporary.replace(place)
    except OSError as error:
        names = dict(zip(map(str, temporaries), map(str, paths), strict=True))
        raise _named(error, names) from error
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def temporary_name(path: PurePath, token: str) -> str:
    """Return the name under which a file is written, beside its place."""
    return f".{path.name}.{token}{path.suffix}"


def _place(path: Path) -> Path:
    """Return where a file is or will be, links followed."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):  # of a loop of links there is an OSError
            raise ValueError(f"{path} is not a regular file and cannot be replaced")
    return path.resolve()


def _created(temporary: Path, place: Path) -> os.stat_result:
    """Create a file that only its owner can read; return whose permissions it gets when whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    # Created like any new file, which is the way to ask what the umask leaves.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    like = (place if place.exists() else temporary).stat()
    temporary.chmod(0o600)
    return like


def _named(error: OSError, names: dict[str, str]) -> OSError:
    """Return an error that names a file of the user's, not a temporary one or none."""
    known = names.get(str(error.filename))
    if error.filename is not None and known is None:  # another file that the block works on
        return error
    path = known or os.path.commonpath(names.values())
    if error.errno is None:
        return OSError(f"{path} cannot be written: {error}")
    return OSError(error.errno, error.strerror, path)


def _give(path: Path, owner: int, group: int) -> None:
    """Give a file to an owner and to a group, each only if that changes it and is allowed."""
    if not hasattr(os, "chown"):  # Windows
        return
    now = path.stat()
    if now.st_gid != group:
        with suppress(PermissionError):
            os.chown(path, -1, group)
    if now.st_uid != owner:
        with suppress(PermissionError):
            os.chown(path, owner, -1)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
