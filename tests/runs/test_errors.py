"""Messages about the directories of runs that no other test reaches, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from invflow.report import comparison
from invflow.runs import directory, own


def test_the_current_directory_is_not_overwritten() -> None:
    message = "is the current directory or contains it, and cannot be overwritten from here"
    with pytest.raises(FileExistsError, match=message):
        own.check_loss(Path.cwd().parent, [])


def test_a_file_is_not_a_run() -> None:
    with pytest.raises(ValueError, match="is a file; expected the directory of a run"):
        directory.kind_of(Path(__file__))


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="runs must be one or more, got none"):
        comparison.labelled([], lambda run: run, "images")
