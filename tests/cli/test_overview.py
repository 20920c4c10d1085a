"""What `invflow` shows alone."""

from __future__ import annotations

import re

import typer

from invflow.cli.app import app
from tests.cli.conftest import Invflow
from tests.test_docs import _parse


def test_invflow_alone_shows_every_command_on_one_screen(invflow: Invflow) -> None:
    code, out, error = invflow()
    assert (code, error) == (0, "")
    assert len(out.splitlines()) <= 23
    assert max(map(len, out.splitlines())) <= 80
    lines = re.findall(r"\$ (invflow .*?)(?:  .*)?$", out, re.MULTILINE)
    for line in lines:
        _parse(line)
    commands = list(typer.main.get_command(app).commands)  # pyright: ignore
    assert sorted(line.split()[1] for line in lines) == sorted(commands)
