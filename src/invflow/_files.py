"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a temporary name beside `path`; rename it to `path` if the block ends well.

    Whatever was at `path` before stays until then, and stays for good if the block fails. A file
    that was there keeps its permissions, and its owner and group where the system allows it; a new
    one has those of any new file. A symbolic link is followed: what it points to is replaced, and
    the link stays.

    Raises:
        ValueError: there is something at `path` that is not a regular file.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a regular file that could be replaced")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    # Made as any new file is, which is how to ask what the umask leaves.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        like = (path if path.exists() else temporary).stat()
        temporary.chmod(0o600)  # nobody else reads what is not whole
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        _give(temporary, like.st_uid, like.st_gid)
        temporary.chmod(stat.S_IMODE(like.st_mode))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _give(path: Path, owner: int, group: int) -> None:
    """Give a file to an owner and to a group, each only if that changes it and may be done."""
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
