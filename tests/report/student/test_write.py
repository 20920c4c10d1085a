"""The page of a student, and of several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from invflow.density import experiment
from invflow.distillation import experiment as distillation
from invflow.distillation.config import Config
from invflow.distillation.run import Run
from invflow.report import student as report
from invflow.report.student.compare import ahead
from invflow.report.student.write import verdict
from invflow.runs.directory import Input
from tests.density.runs import config, mixed, written
from tests.report.pages import headings


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
    assert headings(text) == [
        "Results",
        "Teacher and student",
        "Training",
        "Settings",
    ]
    assert "1000 draws from the teacher" in text
    assert "<h1>invflow: student of teacher</h1>" in text
    assert str(runs[0].directory.parent) not in text.partition("<main>")[0]
    assert set(runs[0].results.energy.column_p_values) == {"size", "new=False", "new=True"}
    brief = report.brief(runs[0])
    assert (brief.title, brief.head) == ("Student and teacher", ("measure", "value"))
    faster = runs[0].results.teacher_seconds / runs[0].results.student_seconds
    assert brief.notes == verdict(runs[0]).lines
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


def test_which_student_is_closer(runs: list[Run]) -> None:
    """The scores are minus the divergences."""
    first = replace(runs[0], scores=dict.fromkeys(runs[0].scores, -torch.tensor([0.5, 0.7])))
    config = runs[1].config.model_copy(update={"steps": 9, "seed": 0})
    scores = {"student_draws": -torch.tensor([0.2, 0.4]), "teacher_draws": -torch.tensor([0.1])}
    found = ahead({"first": first, "second": replace(runs[1], config=config, scores=scores)})
    assert found is not None
    # With another number of draws, the variances add; a single draw has none.
    assert found.headline.startswith("Nothing is clearly ahead. second comes first")
    assert found.points[0] == (
        "second against first: +0.3000 ± 0.0000 in KL(student || teacher) and +0.5000 ± nan in "
        "KL(teacher || student)."
    )
    scores["teacher_draws"] = -torch.tensor([0.1, 0.1, 0.1])
    found = ahead({"first": first, "second": replace(runs[1], config=config, scores=scores)})
    assert found is not None
    assert found.headline == (
        "second is ahead of first by 0.3000 ± 0.0000 in KL(student || teacher) and "
        "0.5000 ± 0.1000 in KL(teacher || student) (nats)."
    )


@pytest.mark.parametrize(
    ("reverse", "forward", "effective", "level", "words"),
    [
        (0.02, 0.03, 0.9, "good", "can take the place of its teacher"),
        (0.02, 0.5, 0.4, "usable", "is near its teacher"),
        (0.02, 0.5, 0.05, "bad", "is not like its teacher"),
        (2.0, 0.05, 0.6, "bad", "is not like its teacher"),
    ],
)
def test_the_verdict(
    runs: list[Run], reverse: float, forward: float, effective: float, level: str, words: str
) -> None:
    results = runs[0].results.model_copy(
        update={
            "reverse": (reverse, 0.01),
            "forward": (forward, 0.01),
            "effective": effective,
            "student_seconds": 2.0,
            "teacher_seconds": 1.0,
        }
    )
    found = verdict(replace(runs[0], results=results))
    assert (found.level, words in found.headline) == (level, True)
    said = " ".join(found.points)
    assert f"KL(teacher || student) {forward:g} nats" in said
    assert "The student is not faster" in said
    assert ("--forward 1" in said) is (forward == 0.5)
    assert ("larger student" in said) is (level != "good")
