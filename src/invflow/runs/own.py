"""Which files belong to runs, so that no other is ever lost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath

from invflow import _files, _saving

#: The files that runs are made of.
PARTS = (
    "config.json",
    "results.json",
    "metrics.csv",
    "events.out.tfevents.*",
    "report.html",
    "model.safetensors",
    "scores.safetensors",
    "model/config.json",
    "model/model.safetensors",
    "model/posterior.json",
    "checkpoints/step-*.safetensors",
    "checkpoints/mode-*/step-*.safetensors",
    "posterior/config.json",
    "posterior/model.safetensors",
    "draws.nc",
    "draws.parquet",
    "summary.csv",
    "verdict.txt",
)
#: What `sample` and `score` write into them.
DERIVED = ("samples.npz", "samples.csv", "scores.csv")
#: A pattern of the random part of a temporary name.
TOKEN = "[0-9a-f]" * 8
#: What file managers leave in a directory that is looked at.
LEFT_BY_VIEWERS = (".DS_Store", "Thumbs.db", "desktop.ini")


def is_taken(directory: Path) -> bool:
    """Return whether there is something at a path, except temporary files left by a kill."""
    if not directory.is_dir():
        return directory.exists()
    return any(not path.name.startswith(".") for path in directory.iterdir())


def is_part(path: Path) -> bool:
    """Return whether a file, which may not exist yet, is a part of a run.

    What `sample` and `score` write is not.
    """
    place = Path(os.path.realpath(path))  # unlike Path.resolve, does not fail at a loop of links
    if place.name in DERIVED:
        return False
    for directory in place.parents[:3]:
        try:
            is_run = _saving.read_config(directory)[0].endswith("-run")
        except (OSError, ValueError):
            continue
        if is_run and _is_own(place.relative_to(directory)):
            return True
    return False


def check_loss(directory: Path, reads: Sequence[Path]) -> None:
    """See that a directory can be replaced, and that only a run is lost.

    Args:
        directory: of the run.
        reads: paths that the new run reads.

    Raises:
        FileExistsError: if it cannot be replaced, or if more would be lost.
    """
    place = directory.resolve()
    if place in (here := Path.cwd().resolve(), *here.parents):
        raise FileExistsError(
            f"{directory} is the current directory or contains it, and cannot be overwritten from "
            "here; change to another directory"
        )
    for path in reads:
        if place in (resolved := path.resolve(), *resolved.parents):
            raise FileExistsError(
                f"{directory} contains {path}, which the new run reads; choose another --name"
            )
    if foreign := sorted(str(path) for path in _files_in(place) if not _is_own(path)):
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise FileExistsError(
            f"{directory} contains files that are not part of the run, {foreign[0]}{more}; "
            "move them, or choose another --name"
        )


def remove_half_written(directory: Path) -> None:
    """Remove what a kill has left half written of a run.

    What `sample` and `score` write stays, since they may be at work.
    """
    for path in _files_in(directory):
        if _is_like(path, _half_written(PARTS)):
            (directory / path).unlink(missing_ok=True)


def _files_in(directory: Path) -> list[PurePath]:
    """Return the files and links below a directory, relative to it."""
    return [
        path.relative_to(directory)
        for path in directory.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and path.name not in LEFT_BY_VIEWERS
    ]


def _is_own(path: PurePath) -> bool:
    """Return whether a file, relative to the directory, is of a run, whole or half written."""
    names = (*PARTS, *DERIVED)
    return _is_like(path, [*map(PurePath, names), *_half_written(names)])


def _half_written(names: Sequence[str]) -> list[PurePath]:
    """Return the patterns of the temporary names of files; see `_files.replacing`."""
    return [path.with_name(_files.temporary_name(path, TOKEN)) for path in map(PurePath, names)]


def _is_like(path: PurePath, patterns: Sequence[PurePath]) -> bool:
    """Return whether a path matches one of the patterns, part by part."""
    return any(
        len(path.parts) == len(pattern.parts) and all(map(fnmatch, path.parts, pattern.parts))
        for pattern in patterns
    )
