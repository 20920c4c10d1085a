"""The last section of a run's page: what repeats the run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from invflow import _saving
from invflow.report.page import Section
from invflow.runs.options import arguments
from invflow.runs.settings import Config


def settings(
    directory: Path, config: Config, command: str, name: str, facts: Mapping[str, str]
) -> Section:
    """Return the section with the command, the versions, the sizes and all settings of a run.

    Args:
        directory: of the run.
        config: its settings.
        command: that trains runs of this kind.
        name: of a run with these settings that is given none.
        facts: sizes of the data, numbers of parameters and the like.
    """
    versions: Mapping[str, str] = {}
    if (directory / _saving.CONFIG).exists():
        versions = _saving.read_versions(directory)
    rows = [*facts.items()]
    if versions:
        rows += [("versions", ", ".join(f"{name} {each}" for name, each in versions.items()))]
    rows += [(name, str(value)) for name, value in config if name in ("seed", "precision")]
    return Section(
        "Settings",
        table=[("what", "value"), *rows],
        text="The command below repeats the run; settings that it does not name are the defaults.",
        code=repeated(directory, config, command, name),
        folded=config.model_dump_json(indent=2),
    )


def repeated(directory: Path, config: Config, command: str, name: str) -> str:
    """Return the command that repeats a run.

    Args:
        directory: of the run.
        config: its settings.
        command: that trains runs of this kind.
        name: of a run with these settings that is given none.
    """
    place = ["--runs", str(directory.parent)] if directory.parent != Path("runs") else []
    named = ["--name", directory.name] if directory.name != name else []
    return shlex.join(["invflow", command, *named, *place, *arguments(config)])


def count(number: int, noun: str) -> str:
    """Return a number with a noun.

    Example:
        >>> count(1, "row"), count(12345, "row")
        ('1 row', '12,345 rows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
