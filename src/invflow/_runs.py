"""The directory of a run: made, or found to hold the same run, to go on with."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from invflow import _saving

T = TypeVar("T")
RESULTS = "results.json"
PACKAGES = ("torch", "numpy", "safetensors")


def is_finished(directory: Path) -> bool:
    """Whether the directory holds the results of a run, which are written last."""
    return (directory / RESULTS).is_file()


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
        raise ValueError(f"{directory} has a configuration of another kind: {error}") from error


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
        return read(path.read_bytes())
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold the results of this run: {error}") from error


def prepare(
    directory: Path,
    model: str,
    content: Mapping[str, Any],
    difference: Callable[[], str],
    *,
    kind: str,
    overwrite: bool,
) -> None:
    """Make the directory of a run, or see that it holds the same run.

    Args:
        directory: of the run.
        model: the name of what it is to hold.
        content: of its `config.json`.
        difference: says in words how the run that is there differs from this one, nothing if it
            does not; raises OSError or ValueError if what is there is no such run.
        kind: of run, in words.
        overwrite: whether to begin anew where there is such a run.

    Raises:
        FileExistsError: it holds another run, or something else.
    """
    aside = directory.with_name(f".{directory.name}.old")
    if _is_taken(directory):
        try:
            different = difference()
        except (OSError, ValueError) as error:
            raise FileExistsError(
                f"{directory} exists and is no {kind}; choose another --name"
            ) from error
        if not overwrite:
            if different:
                raise FileExistsError(
                    f"{directory} holds a run with {different}; "
                    "choose another --name, or --overwrite it"
                )
            return
        # Moved whole, so that a kill leaves no half of a run that nothing could go on with.
        shutil.rmtree(aside, ignore_errors=True)
        directory.rename(aside)
    versions = {name: version(name) for name in PACKAGES}
    versions["python"] = platform.python_version()
    _saving.write_config(directory, model, content, versions=versions)
    shutil.rmtree(aside, ignore_errors=True)


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
