"""Tables that come from files and go to files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from invflow.cli import settings
from invflow.density.table import read
from invflow.density.table.source import blocks
from invflow.density.table.write import WRITABLE


def table(path: Path) -> pd.DataFrame:
    """Return the table in a file, whole."""
    return pd.concat(list(blocks(read(path))), ignore_index=True)


def target(out: Path | None, default: Path, kept: Mapping[str, Path | None]) -> Path:
    """Return where a table is to go.

    Args:
        out: what the user says.
        default: where nothing is said.
        kept: files that are not to be written over, in words.

    Raises:
        ValueError: it has another ending, is one of those to be kept, or is a part of a
            run.
    """
    return settings.target(default if out is None else out, WRITABLE, kept)
