"""The page of a distillation run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from invflow.density.learning import draws
from invflow.distillation.run import Run, contexts, density, name
from invflow.report import figures, page
from invflow.report.density.curve import line
from invflow.report.density.points import COLUMNS, ROWS, Points
from invflow.report.page import Brief
from invflow.report.settings import settings
from invflow.report.student.compare import rounded, speedup
from invflow.training import metrics
from invflow.training.batches import generator

#: Label of the vertical axis.
HEIGHT = "loss (nats)"
#: Largest divergences, in nats, and smallest effective fractions of draws, of students that are
#: good and of those that are usable.
CLOSE, FAR = 0.1, 1.0
EFFECTIVE, LEAST_EFFECTIVE = 0.5, 0.1


def write(run: Run) -> None:
    """Write `report.html` into the directory of a finished run.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
        FileNotFoundError: if the teacher's run does not exist any more.
        ValueError: if the teacher's run has changed.
    """
    page.require()
    shown = points(run)
    found, losses = brief(run), lines(run)
    sections = [
        page.Section("Results", table=[found.head, *found.rows], text=_results(run)),
        page.Section(
            "Teacher and student",
            panels=[figures.pairs(shown.names, shown.rows, shown.draws, ("teacher", "student"))],
            explore=figures.closer(shown.names, {"teacher": shown.rows, "student": shown.draws}),
            text=(
                f"{len(shown.rows)} draws from the teacher (blue, below the diagonal) and the same "
                f"number from the student (orange, above it), for {len(shown.names)} columns. Each "
                "panel below the diagonal should look like the mirror image of the one above it."
            ),
        ),
        page.Section(
            "Training",
            panels=figures.curves(losses, HEIGHT, scale=scale(losses)),
            explore=figures.chart(losses, HEIGHT),
            text=_TRAINING,
        ),
        settings(run.directory, run.config, "distill", name(run.config), _facts(run)),
    ]
    columns, teacher = run.density.columns_, Path(run.config.teacher).name
    lead = f"{run.config.flow}, {len(columns.features)} columns, teacher {teacher}"
    lead += f"; seed {run.config.seed}"
    title = f"invflow: student of {teacher}"
    page.write(run.directory / "report.html", title, lead, sections, verdict(run))


def _facts(run: Run) -> dict[str, str]:
    """Return the sizes of the student."""
    size = sum(each.numel() for each in run.density.model_.parameters())
    return {"columns": f"{len(run.density.columns_.features):,}", "parameters": f"{size:,}"}


def verdict(run: Run) -> page.Verdict:
    """Return how close a student is to its teacher, as text."""
    found, faster = run.results, speedup(run)
    furthest = max(found.reverse[0], found.forward[0])
    points = [
        f"KL(student || teacher) is {found.reverse[0]:.3g} nats, KL(teacher || student) "
        f"{found.forward[0]:.3g} nats.",
        f"Weighted to represent the teacher, {found.effective:.1%} of the student's draws are "
        "effective.",
        f"The energy test finds {'a' if found.energy.differs else 'no'} difference between their "
        "draws.",
        f"Sampling from the student is {rounded(faster)} times as fast as from the teacher.",
    ]
    if faster <= 1:
        points += ["The student is not faster: choose a smaller one, or another --flow."]
    if furthest <= CLOSE and found.effective >= EFFECTIVE:
        return page.Verdict("good", "The student can take the place of its teacher.", points)
    points += ["To bring it closer, train longer (--steps) or choose a larger student."]
    if found.forward[0] > 2 * max(found.reverse[0], CLOSE):
        points += ["It misses parts of the teacher; --forward 1 makes it cover them."]
    if furthest <= FAR and found.effective >= LEAST_EFFECTIVE:
        headline = "The student is near its teacher; weight its draws where it matters."
        return page.Verdict("usable", headline, points)
    return page.Verdict("bad", "The student is not like its teacher.", points)


def brief(run: Run) -> Brief:
    """Return what a terminal shows of the results: a title, a head, rows and the verdict."""
    found = run.results
    said = "differ" if found.energy.differs else "no difference found"
    rows: list[tuple[str, ...]] = [
        ("KL(student || teacher), nats", "{:.4g} ± {:.2g}".format(*found.reverse)),
        ("KL(teacher || student), nats", "{:.4g} ± {:.2g}".format(*found.forward)),
        ("effective sample size", f"{found.effective:.1%} of draws"),
        ("energy test of their draws", f"p = {found.energy.p_value:.2g}: {said}"),
        ("student, microseconds per draw", rounded(1e6 * found.student_seconds)),
        ("teacher, microseconds per draw", rounded(1e6 * found.teacher_seconds)),
        ("speed-up", rounded(speedup(run))),
    ]
    return Brief("Student and teacher", ("measure", "value"), rows, verdict(run).lines)


def points(run: Run) -> Points:
    """Return draws of the teacher and of the student, with the same contexts."""
    taught_by = run.teacher.path or run.directory
    teacher = density(taught_by)
    noise = generator("cpu", run.config.seed, 3)
    given = contexts(taught_by, teacher)
    context = torch.empty(ROWS, 0, dtype=torch.float64)
    if given is not None:
        context = given[torch.randint(len(given), (ROWS,), generator=noise)]
    columns = run.density.columns_.features[:COLUMNS]
    of_teacher, of_student = (
        draws.draw(each.model_, context, noise)[:, : len(columns)].numpy()
        for each in (teacher, run.density)
    )
    return Points([column.name for column in columns], of_teacher, of_student, held_out=False)


def lines(run: Run) -> dict[str, figures.Curve]:
    """Return the loss against the step."""
    rows = metrics.read(run.directory)
    return {split: line(rows, split, lambda row: row["loss"]) for split in ("validation", "train")}


def scale(lines: Mapping[str, figures.Curve]) -> str:
    """Return the scale for losses: logarithmic if all are above zero."""
    finite = [value for line in lines.values() for value in line.values if math.isfinite(value)]
    return "log" if min(finite) > 0 else "linear"


def _results(run: Run) -> str:
    text = (
        "Both divergences are zero if student and teacher agree. They are estimated from "
        f"{run.config.evaluation_draws:,} draws of each. The first is sensitive to regions where "
        "the student puts mass and the teacher does not; the second also to modes that the student "
        "misses. "
        "The effective sample size is that of the student's draws, weighted to represent the "
        "teacher. Times are medians over batches of 256 draws, alternating between student and "
        "teacher, on the machine that trained the student. The energy test compares their draws: "
        f"{run.results.energy}."
    )
    if run.density.columns_.has_grids:
        text += " Columns that move in steps are compared before rounding."
    return text


_TRAINING = "The training loss, on new draws. The student with the best evaluation is kept."
