"""Where commands write: the directory of a run, and other files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from invflow.runs import own
from invflow.runs.directory import ENDINGS


def directory(runs: Path, name: str) -> Path:
    """Return the directory of a run.

    Raises:
        ValueError: if the name is a path, or that of a run that is being overwritten.
    """
    if Path(name).name != name or name in ("", ".."):
        raise ValueError(f"--name must be the name of a directory, not a path, got {name!r}")
    if name.startswith(".") and name.endswith(ENDINGS):
        raise ValueError(f"--name must not be that of a run being overwritten, got {name!r}")
    return runs / name


def output(path: Path, endings: Sequence[str], kept: Mapping[str, str | Path | None]) -> Path:
    """Return the file that a command writes.

    Args:
        path: what the user asks for, or the default.
        endings: one of which its name must end with.
        kept: files that must not be overwritten, by what they are.

    Raises:
        ValueError: if it has another ending, is one of those to be kept, or is part of a run.
    """
    if not path.name.lower().endswith(tuple(endings)):
        known = " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))
        raise ValueError(f"--out must end in {known}, got {path}")
    for what, file in kept.items():
        if file is not None and _is_same(path, Path(file)):
            raise ValueError(f"--out must not overwrite {what}, {path}")
    if own.is_part(path):
        raise ValueError(f"--out must not overwrite a part of a run, {path}")
    return path


def _is_same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():  # perhaps through different links
        return path.samefile(other)
    # Unlike Path.resolve, which fails at a loop of links.
    return os.path.realpath(path) == os.path.realpath(other)
