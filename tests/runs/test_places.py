"""Runs find their tables and teachers from any directory, and wherever they were moved together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from invflow.density import experiment, run
from invflow.distillation import run as student
from invflow.distillation.config import Config
from invflow.distillation.experiment import train as teach
from invflow.distillation.run import lineage
from invflow.runs import places
from tests.cli.conftest import Invflow, invflow
from tests.density.runs import config, mixed, written

__all__ = ["invflow"]
QUICK: dict[str, Any] = {"flow": "gaussian", "steps": 2, "batch_size": 32, "evaluation_draws": 100}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a table, a conditional density of it, and a student, by relative paths."""
    directory = tmp_path_factory.mktemp("made")
    written(mixed(), directory / "table.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        asked = config(Path("table.csv"), conditional_on=("colour",), steps=2)
        experiment.train(asked, "runs/teacher")
        teach(Config(teacher="runs/teacher", **QUICK), "runs/student")
    return directory


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """The same, copied."""
    shutil.copytree(made, tmp_path / "copied")
    return tmp_path / "copied"


def test_another_working_directory(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invflow: Invflow
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    options = ["--flow", "gaussian", "--steps", 2, "--batch-size", 32, "--evaluation-draws", 100]
    code, out, err = invflow("distill", "../copied/runs/teacher", *options)
    assert (code, err) == (0, "")
    assert "Report: runs/teacher-gaussian/report.html" in out
    # And it goes on from another.
    monkeypatch.chdir(tmp_path)
    again = ["--runs", "elsewhere/runs", *options]
    code, out, err = invflow("distill", "copied/runs/teacher", *again)
    assert (code, err) == (0, "")
    assert "already finished" in out
    for name in ("copied/runs/teacher", "copied/runs/student", "elsewhere/runs/teacher-gaussian"):
        table = student.table(name)
        assert table is not None
        assert table.resolve() == place / "table.csv"
        code, _, err = invflow("score", name, "copied/table.csv", "--out", "copied/table.csv")
        assert (code, "--out must not overwrite the table" in err) == (1, True)
    assert len(pd.read_csv(place / "table.csv")) == 300


def test_runs_that_were_moved(made: Path, place: Path, tmp_path: Path) -> None:
    """With their table they are together, and without it it is where it was."""
    assert run.load(place / "runs" / "teacher").data.path == place / "runs/teacher/../../table.csv"
    assert (
        student.load(place / "runs" / "student").teacher.path == place / "runs/student/../teacher"
    )
    (place / "runs" / "teacher").rename(tmp_path / "moved")
    assert run.load(tmp_path / "moved").data.path == made / "table.csv"
    teach(Config(teacher=str(tmp_path / "moved"), **QUICK), tmp_path / "new")
    assert student.table(tmp_path / "new") == made / "table.csv"


def test_a_table_that_is_gone(place: Path, tmp_path: Path, invflow: Invflow) -> None:
    (place / "table.csv").rename(tmp_path / "hidden.csv")
    path = place / "runs" / "teacher" / "config.json"
    content = json.loads(path.read_text())
    content["config"]["inputs"]["data"]["path"]["absolute"] = "/nowhere/table.csv"
    path.write_text(json.dumps(content))
    code, _, err = invflow("distill", place / "runs" / "teacher", "--runs", tmp_path / "new")
    said = "/nowhere/table.csv does not exist: a conditional density is taught at the contexts in"
    assert (code, said in err, err.count("\n")) == (1, True, 0)
    assert not (tmp_path / "new").exists()
    code, _, err = invflow("score", place / "runs" / "teacher", tmp_path / "hidden.csv")
    assert (code, err) == (0, "")


def test_runs_of_earlier_versions(place: Path, invflow: Invflow) -> None:
    """They say what they are, and are replaced only when that is asked for."""
    path = place / "runs" / "teacher" / "config.json"
    content = json.loads(path.read_text())
    old = content["config"]["settings"]
    old["validation"] = old.pop("validation_fraction")
    path.write_text(json.dumps(content))
    again = ("density", place / "table.csv", "--runs", place / "runs", "--name", "teacher")
    again += ("--conditional-on", "colour", "--flow", "gaussian", "--steps", 2)
    for command in (("sample", path.parent), again):
        code, _, err = invflow(*command)
        said = "cannot read (validation: Extra inputs are not permitted"
        assert (code, said in err, "--overwrite" in err, err.count("\n")) == (1, True, True, 0)
    assert json.loads(path.read_text()) == content
    assert invflow(*again, "--overwrite")[0] == 0
    assert run.load(path.parent).config.validation_fraction is None  # by the number of rows


@pytest.mark.parametrize("length", [1, 2])
def test_a_student_that_is_its_own_teacher(place: Path, length: int, invflow: Invflow) -> None:
    names = ["student", "other"][:length]
    if length == 2:
        shutil.copytree(place / "runs" / "student", place / "runs" / "other")
    for name, taught_by in zip(names, [*names[1:], names[0]], strict=True):
        path = place / "runs" / name / "config.json"
        content = json.loads(path.read_text())
        content["config"]["inputs"]["teacher"]["path"] = places.noted(
            place / "runs" / taught_by, place / "runs" / name
        )
        path.write_text(json.dumps(content))
    for ask in (student.table, lineage):
        with pytest.raises(ValueError, match=r"is damaged: its teacher, .*, is taught by it"):
            ask(place / "runs" / "student")
    for command in (["sample"], ["score", place / "table.csv"], ["distill"]):
        code, _, err = invflow(command[0], place / "runs" / "student", *command[1:])
        assert (code, "is damaged: its teacher" in err, err.count("\n")) == (1, True, 0)


def test_a_student_does_not_replace_who_taught_it(place: Path, invflow: Invflow) -> None:
    kept = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for name in ("teacher", "student"):
        code, _, err = invflow(
            *("distill", place / "runs" / "student", "--runs", place / "runs"),
            *("--name", name, "--overwrite"),
        )
        assert (code, err.count("\n")) == (1, 0)
    assert "student teaches the new student; choose another --name" in err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == kept


@pytest.mark.parametrize("places", [3, [], {}, {"relative": 3, "absolute": "x"}, "x"])
def test_saved_places_are_not_believed(place: Path, places: Any) -> None:
    path = place / "runs" / "student" / "config.json"
    content = json.loads(path.read_text())
    content["config"]["inputs"]["teacher"]["path"] = places
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="settings that this version of invflow cannot read"):
        student.table(place / "runs" / "student")
