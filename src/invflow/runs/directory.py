"""The directory of a run: made, or found to hold the same run, to go on with."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any, TypeVar

from invflow import _files, _saving

T = TypeVar("T")
RESULTS = "results.json"
PACKAGES = ("torch", "numpy", "safetensors")
#: Of hidden directories beside an overwritten run: the old run, the new one, what is removed.
ENDINGS = (".old", ".new", ".gone")
#: Number of characters shown of a wrong value.
SHOWN = 40
#: The files that runs are made of.
OWN = (
    "config.json",
    "results.json",
    "metrics.csv",
    "events.out.tfevents.*",
    "report.html",
    "model.safetensors",
    "model/config.json",
    "model/model.safetensors",
    "model/posterior.json",
    "checkpoints/step-*.safetensors",
    "checkpoints/mode-*/step-*.safetensors",
    "draws.nc",
    "draws.parquet",
    "summary.csv",
    "verdict.txt",
)
#: What is drawn from them, and what they score.
DERIVED = ("samples.npz", "samples.csv", "scores.csv")
#: What file managers leave in a directory that is looked at.
LEFT_BY_VIEWERS = (".DS_Store", "Thumbs.db", "desktop.ini")


def is_finished(directory: Path) -> bool:
    """Whether the directory holds the results of a run, which are written last."""
    return os.path.lexists(directory / RESULTS)  # whatever it is: reading it says what is wrong


def model(directory: Path) -> str:
    """Return the name of what a directory holds.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it holds nothing that invflow has written.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} does not exist")
    return _saving.read_config(directory)[0]


def settings(directory: Path, model: str, kind: str, read: Callable[[Any], T]) -> T:
    """Return the settings of a run.

    Args:
        directory: of the run.
        model: the name of what it is to hold.
        kind: of run, in words.
        read: makes settings of the content of its `config.json`; raises KeyError, TypeError or
            ValueError if they are none.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of another kind.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} does not exist")
    name, content = _saving.read_config(directory)
    if name != model:
        raise ValueError(f"{directory} holds the model {name!r}, expected a {kind}")
    try:
        return read(content)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{directory} has a configuration of another kind: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """Return what is wrong in one line; of pydantic's errors the first."""
    if not (errors := getattr(error, "errors", None)):
        return str(error)
    first = errors()[0]
    got = repr(first["input"])
    shown = got if len(got) <= SHOWN else f"{got[:SHOWN]}..."
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {shown}"


def check_finished(directory: Path) -> None:
    """See that a run is finished.

    Raises:
        ValueError: it is not.
    """
    if not is_finished(directory):
        raise ValueError(
            f"{directory} holds an unfinished run; the command that began it goes on with it"
        )


def results(directory: Path, read: Callable[[bytes], T]) -> T:
    """Return the results of a finished run.

    Args:
        directory: of the run.
        read: makes results of the content of the file; raises KeyError, TypeError or ValueError if
            they are none.

    Raises:
        ValueError: they are damaged, or those of another run.
    """
    path = directory / RESULTS
    try:
        return read(_files.read(path))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} does not hold the results of this run: {_reason(error)}"
        ) from error


def prepare(
    directory: Path,
    model: str,
    content: Mapping[str, Any],
    difference: Callable[[], str],
    *,
    kind: str,
    overwrite: bool,
    reads: Sequence[str | Path] = (),
) -> None:
    """Make the directory of a run, or see that it holds the same run.

    A run that is overwritten is whole in its place until the new one takes it.

    Args:
        directory: of the run.
        model: the name of what it is to hold.
        content: of its `config.json`.
        difference: says in words how the run that is there differs from this one, nothing if it
            does not; raises OSError or ValueError if what is there is no such run.
        kind: of run, in words.
        overwrite: whether to begin anew where there is such a run.
        reads: paths that this run reads.

    Raises:
        FileExistsError: it holds another run, or something else; or an overwritten run is not all
            that would be lost.
    """
    place = _resolved(directory)
    old, new, gone = (place.parent / f".{place.name}{ending}" for ending in ENDINGS)
    if old.is_dir() and not place.exists():  # a kill came before the new run had taken its place
        old.rename(place)
    taken = _is_taken(place)
    check(directory, difference, kind=kind, overwrite=overwrite, reads=reads)
    if taken and not overwrite:
        return
    versions = {name: version(name) for name in PACKAGES}
    versions["python"] = platform.python_version()
    if not taken:
        _saving.write_config(place, model, content, versions=versions)
        return
    for left in (new, old, gone):
        shutil.rmtree(left, ignore_errors=True)
    _saving.write_config(new, model, content, versions=versions)
    shutil.copymode(place, new)
    place.rename(old)
    new.rename(place)
    old.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def check(
    directory: Path,
    difference: Callable[[], str],
    *,
    kind: str,
    overwrite: bool,
    reads: Sequence[str | Path] = (),
) -> None:
    """See that `prepare` may be called, and change nothing.

    Args:
        directory: of the run.
        difference: as for `prepare`.
        kind: of run, in words.
        overwrite: whether to begin anew where there is such a run.
        reads: paths that this run reads.

    Raises:
        FileExistsError: it may not.
    """
    place = _resolved(directory)
    if not _is_taken(place):
        return
    try:
        different = difference()
    except (OSError, ValueError) as error:
        raise FileExistsError(
            f"{directory} exists and is not a {kind}; choose another --name"
        ) from error
    if overwrite:
        _check_loss(directory, reads)
    elif different:
        raise FileExistsError(
            f"{directory} holds a run with {different}; choose another --name, or --overwrite it"
        )


def other_settings(there: Any, asked: Any) -> str:
    """Return in words how the settings of a run differ from others, nothing if they do not."""
    for name in type(asked).model_fields:
        old, new = getattr(there, name), getattr(asked, name)
        # A path is as good as another to the same data, and to the same teacher.
        if old != new and name not in ("data", "teacher"):
            return f"other settings: {name} is {old}, not {new}"
    return ""


def _is_taken(directory: Path) -> bool:
    """Whether there is something at the path, other than temporary files that a kill has left."""
    if not directory.is_dir():
        return directory.exists()
    return any(not path.name.startswith(".") for path in directory.iterdir())


def _resolved(directory: Path) -> Path:
    """Return where a directory is, links followed.

    Raises:
        FileExistsError: it is a link to nothing.
    """
    if directory.is_symlink() and not directory.exists():
        raise FileExistsError(f"{directory} is a link to nothing; remove it, or choose another")
    return directory.resolve()


def _check_loss(directory: Path, reads: Sequence[str | Path]) -> None:
    """See that a directory can be replaced, and that nothing is lost but a run.

    Raises:
        FileExistsError: it cannot, or more would be lost.
    """
    place = directory.resolve()
    if place in (here := Path.cwd().resolve(), *here.parents):
        raise FileExistsError(
            f"{directory} is the current directory or holds it, and cannot be overwritten from "
            "here; change to another directory"
        )
    for path in map(Path, reads):
        if place in (resolved := path.resolve(), *resolved.parents):
            raise FileExistsError(
                f"{directory} holds what the new run reads, {path}; choose another --name"
            )
    if foreign := sorted(str(path) for path in _files_in(place) if not _is_own(path)):
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise FileExistsError(
            f"{directory} holds files that are not a part of the run, {foreign[0]}{more}; "
            "move them, or choose another --name"
        )


def _files_in(directory: Path) -> list[PurePath]:
    """Return the files and links below a directory, relative to it."""
    return [
        path.relative_to(directory)
        for path in directory.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and path.name not in LEFT_BY_VIEWERS
    ]


def is_part(path: Path) -> bool:
    """Whether a run needs the file, or has it to show; what `sample` and `score` write is neither.

    Args:
        path: of a file that may be there or not.
    """
    place = path.resolve()
    if place.name in DERIVED:
        return False
    for directory in place.parents[:3]:
        try:
            is_run = model(directory).endswith("-run")
        except (OSError, ValueError):
            continue
        if is_run and _is_own(place.relative_to(directory)):
            return True
    return False


def _is_own(path: PurePath) -> bool:
    """Whether a file, relative to the directory, is of a run, whole or half written."""
    patterns = [PurePath(part) for part in (*OWN, *DERIVED)]
    patterns += [pattern.with_name(f".{pattern.name}.*") for pattern in patterns]
    return any(
        len(path.parts) == len(pattern.parts) and all(map(fnmatch, path.parts, pattern.parts))
        for pattern in patterns
    )
