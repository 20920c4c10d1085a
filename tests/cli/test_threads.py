"""How threads wait is set by the command, before PyTorch is imported, and by nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import invflow_command

COMMAND = "import sys; sys.argv = ['invflow', '--version']; import invflow_command as c; c.main()"
IMPORT = "import invflow"
VARIABLES = invflow_command.DECIDED


@cache
def openmp(script: str, **settings: str) -> list[str]:
    """Return what GNU's OpenMP says of its settings when it is loaded by a script."""
    rest = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**rest, **settings, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("PyTorch's threads are not those of GNU's OpenMP here")
    return [
        line.rpartition("]")[2].strip()  # newer ones begin with "[host]"
        for line in done.stderr.splitlines()
        if any(name in line for name in VARIABLES)
    ]


def test_threads_of_the_command_soon_sleep() -> None:
    assert "GOMP_SPINCOUNT = '1000'" in openmp(COMMAND)


@pytest.mark.slow
def test_what_the_user_has_set_stays() -> None:
    assert "GOMP_SPINCOUNT = '77'" in openmp(COMMAND, GOMP_SPINCOUNT="77")
    passive = openmp(COMMAND, OMP_WAIT_POLICY="passive")
    assert passive == openmp(IMPORT, OMP_WAIT_POLICY="passive")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in passive


def test_importing_invflow_sets_nothing() -> None:
    assert openmp(IMPORT) == openmp("import torch")
    assert openmp(IMPORT) != openmp(COMMAND)


def test_the_command_is_the_one_that_is_installed() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"invflow": f"{invflow_command.__name__}:main"}
