"""`invflow distill` as a user meets it, and its report."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from invflow.cli.app import app
from tests.cli.conftest import Invflow
from tests.density.runs import mixed

SMALL = (
    "--transforms",
    1,
    "--hidden-features",
    8,
    "--steps",
    20,
    "--batch-size",
    32,
    "--evaluation-draws",
    200,
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs")
    mixed(120).to_csv(directory / "table.csv", index=False)
    training = ["--flow", "gaussian", "--steps", "30", "--conditional-on", "colour"]
    app(
        ["density", str(directory / "table.csv"), "--runs", str(directory), *training],
        standalone_mode=False,
    )
    return directory / "table"


def test_teach_sample_and_score(teacher: Path, tmp_path: Path, invflow: Invflow) -> None:
    code, out, err = invflow("distill", teacher, "--runs", tmp_path, *SMALL)
    assert (code, err) == (0, "")
    assert "KL(teacher || student), nats" in out
    page = (tmp_path / "table-iaf" / "report.html").read_text()
    for part in ("Results", "Teacher and student", "Training", "Settings", "speed-up"):
        assert part in page
    given = tmp_path / "given.csv"
    given.write_text("colour\nred\n")
    drawn = tmp_path / "drawn.csv"
    student = tmp_path / "table-iaf"
    code, _, err = invflow("sample", student, "-n", 7, "--given", given, "--out", drawn)
    assert (code, err) == (0, "")
    learned = teacher.with_suffix(".csv")
    code, _, err = invflow("sample", student, "--given", given, "--out", learned)
    assert code != 0
    assert "--out must not overwrite the table of the run" in err
    rows = pd.read_csv(drawn)
    assert list(rows.columns) == ["size", "colour", "count", "share", "new"]
    assert len(rows) == 7
    code, out, err = invflow("score", student, teacher.parent / "table.csv")
    assert (code, err) == (0, "")
    assert len(pd.read_csv(student / "scores.csv")) == 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--flow", "nope"), "invflow: flow must be one of"),
        (("--steps", 0), "invflow: --steps must be greater than 0, got 0"),
        (("--forward", -1), "invflow: --forward must be greater than or equal to 0"),
        (("--name", "a/b"), "invflow: --name must be the name of a directory"),
        (("--reverse", 0), "invflow: .*weight"),
    ],
)
def test_one_line_for_bad_options(
    teacher: Path,
    tmp_path: Path,
    invflow: Invflow,
    arguments: tuple[object, ...],
    message: str,
) -> None:
    code, _, err = invflow("distill", teacher, "--runs", tmp_path, *SMALL, *arguments)
    assert code == 1
    assert re.match(message, err), err
    assert "\n" not in err.strip()
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_no_density(tmp_path: Path, invflow: Invflow) -> None:
    code, _, err = invflow("distill", tmp_path, "--runs", tmp_path)
    assert code == 1
    assert err.startswith(f"invflow: {tmp_path / 'config.json'} does not exist")
