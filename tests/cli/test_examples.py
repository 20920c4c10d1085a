"""Every command's help ends with examples, and these run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from invflow.cli.app import app
from invflow.simulation import nle
from invflow.vi import Posterior, Settings, fit
from tests.cli.conftest import Invflow

COMMANDS: dict[str, Any] = dict(typer.main.get_command(app).commands)  # pyright: ignore
MODEL = """
dim = 2

def log_density(z, y=0.0):
    return -0.5 * ((z - y) ** 2).sum(-1)
"""
#: What makes a command short, for those that have the option. (The last value of an option counts.)
SHORT = {
    "--steps": 2,
    "--max-steps": 200,
    "--draws": 100,
    "--importance-samples": 2,
    "--evaluation-draws": 100,
}

#: What cannot be done with the runs that the examples leave, and what is said of it.
REFUSED = {
    "invflow compare runs/digits runs/table": "runs must be of one kind to be compared, got ",
    "invflow score runs/model table.csv": "is a run of `invflow posterior`, which score does not",
    "invflow classify runs/digits digits kind": "`invflow vae`, which classify does not apply to",
    "invflow sample runs/model": "sampling a posterior runs the code of its model: name its file",
    "invflow sample runs/model --model other.py": "is not the file that runs/model was fitted with",
    "invflow density table.csv --name .a.old": "must not be that of a run being overwritten",
}


def examples(help: str) -> list[str]:
    """Return the commands with which a help text ends."""
    lines = [line.strip() for line in help.strip().splitlines() if line.strip()]
    found: list[str] = []
    while lines and lines[-1].startswith("$ invflow "):
        found.append(lines.pop().removeprefix("$ "))
    return found[::-1]


def _examples(name: str) -> list[str]:
    command = COMMANDS[name]
    return examples(command.epilog or command.help or "")


def _files(folder: Path) -> None:
    """Write the files that examples name."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(200, 3)).round(3)
    lines = [",".join(map(str, row)) + (",x" if row[0] > 0 else ",y") for row in rows]
    (folder / "table.csv").write_text("\n".join(["a,b,c,kind", *lines]) + "\n")
    theta = np.stack([random.uniform(size=300), random.normal(size=300)], 1)
    simulated = np.hstack([theta, theta + 0.1 * random.normal(size=theta.shape)]).round(4)
    lines = [",".join(map(str, row)) for row in simulated]
    (folder / "simulations.csv").write_text("\n".join(["a,b,x,y", *lines]) + "\n")
    (folder / "observed.csv").write_text("x,y\n0.5,-0.2\n")
    (folder / "model.py").write_text(MODEL)
    (folder / "data.json").write_text(json.dumps({"y": [1.0, 2.0]}))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples(name: str) -> None:
    found = _examples(name)
    # Of densities, two for tables and two for images.
    assert len(found) == {"density": 4, "doctor": 1}.get(name, 2)
    assert all(line.split()[1] == name for line in found)


def _fitted_briefly(target: Any, settings: None, **options: Any) -> Posterior:
    return fit(target, settings=Settings(max_steps=100), **options)


@pytest.mark.usefixtures("few_digits")
def test_examples_run(invflow: Invflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the commands, because some need the runs that others leave."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nle, "fit", _fitted_briefly)
    _files(tmp_path)
    failed: dict[str, str] = {}
    for name, command in COMMANDS.items():
        options = {option for each in command.params for option in each.opts}
        for line in _examples(name):
            known = options - {"--draws"} if "table.csv" in line else options
            short = [str(each) for pair in SHORT.items() if pair[0] in known for each in pair]
            code, _, error = invflow(*shlex.split(line)[1:], *short)
            if code:
                failed[line] = error
    assert failed == {}
    (tmp_path / "other.py").write_text(MODEL.replace("0.5", "0.6"))
    for line, message in REFUSED.items():
        code, _, error = invflow(*shlex.split(line)[1:])
        assert code
        assert message in error


def test_the_examples_of_a_help_text() -> None:
    help = "Draw.\n\nExamples:\n\n$ invflow sample runs/digits\n\n$ invflow sample runs/table\n"
    assert examples(help) == ["invflow sample runs/digits", "invflow sample runs/table"]
    assert examples("Try\n\n$ invflow sample RUN\n\nand look.") == []
