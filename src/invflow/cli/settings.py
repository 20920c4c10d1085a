"""What the options of a command make: settings, and the directory of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from invflow.runs import directory as runs_directory

if TYPE_CHECKING:
    from pydantic import BaseModel

SettingsT = TypeVar("SettingsT", bound="BaseModel")


def option(help: str, panel: str, default: str | None = None, **more: Any) -> Any:
    """Return an option of a panel of the help, with what stands there for its default."""
    shown = {} if default is None else {"show_default": default}
    return typer.Option(help=help, rich_help_panel=panel, **shown, **more)


def settings(
    kind: type[SettingsT], given: Mapping[str, Any], options: Mapping[str, str]
) -> SettingsT:
    """Return settings.

    Args:
        kind: their class.
        given: those that were given, by name.
        options: the names of options, where they are not those of the settings.

    Raises:
        ValueError: one is wrong; its option is named.
    """
    from pydantic import ValidationError

    for value in given.values():
        if isinstance(value, str) and not _is_text(value):
            raise ValueError(f"{value!a} is not text: rename it")
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # of several settings
            raise ValueError(first["msg"].removeprefix("Value error, ")) from error
        name = str(first["loc"][0])
        option = "--" + options.get(name, name).replace("_", "-")
        raise ValueError(f"{option}: {first['msg']}, got {first['input']!r}") from error


def _is_text(value: str) -> bool:
    """Whether it can be written down; names of files may hold bytes that cannot."""
    return value.encode("utf-8", "ignore").decode("utf-8") == value


def directory(runs: Path, name: str) -> Path:
    """Return the directory of a run.

    Raises:
        ValueError: the name is a path, or that of a run that is being overwritten.
    """
    if Path(name).name != name or name in ("", ".."):
        raise ValueError(f"--name must be the name of a directory, not a path, got {name!r}")
    if name.startswith(".") and name.endswith(runs_directory.ENDINGS):
        raise ValueError(f"--name must not be that of a run being overwritten, got {name!r}")
    return runs / name


def target(path: Path, endings: Sequence[str], kept: Mapping[str, str | Path | None]) -> Path:
    """Return where a command is to write.

    Args:
        path: what the user says, or the default.
        endings: of names, in which one of them must end.
        kept: files that are not to be written over, in words.

    Raises:
        ValueError: it has another ending, is one of those to be kept, or is a part of a run.
    """
    if not path.name.lower().endswith(tuple(endings)):
        known = " or ".join(filter(None, (", ".join(endings[:-1]), endings[-1])))
        raise ValueError(f"--out must end in {known}, got {path}")
    for what, file in kept.items():
        if file is not None and _is_same(path, Path(file)):
            raise ValueError(f"--out must be another file than {what}, got {path}")
    if runs_directory.is_part(path):
        raise ValueError(f"--out must not be a part of a run, got {path}")
    return path


def _is_same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():  # perhaps by different links
        return path.samefile(other)
    # Unlike Path.resolve, which fails at a loop of links.
    return os.path.realpath(path) == os.path.realpath(other)


def refuse(kind: str, options: Mapping[str, Any]) -> None:
    """See that options that make no sense for a kind of run are not given.

    Raises:
        ValueError: one is.
    """
    for option, value in options.items():
        if value is not None:
            raise ValueError(f"{option} does not go with a {kind} run")
