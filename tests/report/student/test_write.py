"""The page of a student, and of several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from invflow.density import experiment
from invflow.distillation import experiment as distillation
from invflow.distillation.config import Config
from invflow.distillation.run import Run
from invflow.report import student as report
from invflow.runs.directory import Input
from tests.density.runs import config, mixed, written


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    directory = tmp_path_factory.mktemp("students")
    table = written(mixed(200)[["size", "new"]], directory / "table.csv")
    teacher = directory / "teacher"
    experiment.train(config(table, steps=10), teacher)
    small = {"transforms": 1, "hidden_features": (8,), "steps": 5, "evaluation_draws": 200}
    return [
        distillation.train(Config(teacher=str(teacher), seed=seed, **small), directory / f"{seed}")
        for seed in (0, 1)
    ]


def test_the_page(runs: list[Run]) -> None:
    report.write(runs[0])
    text = (runs[0].directory / "report.html").read_text()
    assert [part.split("</h2>")[0] for part in text.split("<h2>")[1:]] == [
        "Results",
        "Teacher and student",
        "Training",
        "Settings",
    ]
    assert "1000 draws from the teacher" in text
    assert set(runs[0].results.energy.column_p_values) == {"size", "new"}
    brief = report.brief(runs[0])
    assert (brief.title, brief.head) == ("Student and teacher", ("measure", "value"))
    faster = runs[0].results.teacher_seconds / runs[0].results.student_seconds
    assert brief.rows[-1] == ("speed-up", f"{float(f'{faster:.3g}'):,g}")


def test_several(runs: list[Run], tmp_path: Path) -> None:
    found = report.compare(runs)
    results, seeds = found.tables.values()
    assert [row[0] for row in results] == ["run", "0", "1"]
    assert results[1][1] == "{:.4f} ± {:.4f}".format(*runs[0].results.reverse)
    assert results[1][2] == results[1][4] == ""
    for column, draws in ((2, "student_draws"), (4, "teacher_draws")):
        above = runs[0].scores[draws] - runs[1].scores[draws]
        error = above.std() / len(above) ** 0.5
        assert results[2][column] == f"{above.mean():+.4f} ± {error:.4f}"
    assert -runs[1].scores["teacher_draws"].mean() == pytest.approx(runs[1].results.forward[0])
    assert -runs[1].scores["student_draws"].mean() == pytest.approx(runs[1].results.reverse[0])
    fewer = {name: values[1:] for name, values in runs[1].scores.items()}
    unpaired, _ = report.compare([runs[0], replace(runs[1], scores=fewer)]).tables.values()
    assert unpaired[2][2] == unpaired[2][4] == ""
    mean = (runs[0].results.reverse[0] + runs[1].results.reverse[0]) / 2
    assert seeds[1][:2] == ("0, 1", "2")
    assert seeds[1][2].startswith(f"{mean:.4f} ± ")
    found.write(tmp_path / "compare.html")
    assert "Averages over seeds" in (tmp_path / "compare.html").read_text()
    with pytest.raises(ValueError, match="different teachers and cannot be compared"):
        report.compare([runs[0], replace(runs[1], teacher=Input(tmp_path, "another"))])
