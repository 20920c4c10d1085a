"""Where the files of a run are, from wherever it is looked at."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def noted(path: str | Path, directory: Path) -> dict[str, str]:
    """Return where a file is, for the configuration of a run that is made from it.

    Args:
        path: of the file, from the current directory.
        directory: of the run.
    """
    absolute = Path(path).resolve()
    try:
        relative = Path(os.path.relpath(absolute, directory.resolve())).as_posix()
    except ValueError:  # it is on another drive
        relative = str(absolute)
    return {"absolute": str(absolute), "relative": relative}


def found(places: Mapping[str, str], directory: Path) -> Path:
    """Return where a file is now: beside the run if both were moved, else where it was.

    Args:
        places: what `noted` has returned.
        directory: of the run.

    Raises:
        KeyError, TypeError: if it is something else.
    """
    beside = directory.resolve() / places["relative"]
    return beside if beside.exists() else Path(places["absolute"])
