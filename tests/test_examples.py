"""The examples run, if only for a few steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = ["conditional", "energies", "four_points", "moons", "outbreak", "patches"]


@pytest.mark.parametrize("name", NAMES)
def test_example(name: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    command = [sys.executable, EXAMPLES / f"{name}.py", "--steps", "3", "--out", picture]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) >= 4
    assert "nan" not in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(NAMES)
