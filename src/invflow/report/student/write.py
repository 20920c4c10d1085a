"""The page of a distillation run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from invflow.density.learning import draws
from invflow.distillation.run import Run, contexts, density
from invflow.report import figures, page
from invflow.report.density.curve import steps
from invflow.report.density.points import COLUMNS, ROWS, Points
from invflow.report.page import Brief
from invflow.report.student.compare import rounded, speedup
from invflow.training import metrics
from invflow.training.batches import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(run: Run) -> None:
    """Write `report.html` into the directory of a finished run.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
        FileNotFoundError: if the teacher's run does not exist any more.
        ValueError: if the teacher's run has changed.
    """
    page.require()
    shown = points(run)
    pairs = figures.pairs(shown.names, shown.rows, shown.draws)
    found = brief(run)
    sections = [
        page.Section("Results", table=[found.head, *found.rows], text=_results(run)),
        page.Section(
            "Teacher and student",
            picture=page.encoded(pairs),
            text=(
                f"{len(shown.rows)} draws from the teacher (blue, below the diagonal) and the same "
                f"number from the student (orange, above it), for {len(shown.names)} columns. Each "
                "panel below the diagonal should look like the mirror image of the one above it."
            ),
        ),
        page.Section("Training", picture=page.encoded(curve(run)), text=_TRAINING),
        page.Section("Settings", code=run.config.model_dump_json(indent=2)),
    ]
    columns = run.density.columns_
    lead = f"{run.config.flow}, {len(columns.features)} columns, teacher {run.config.teacher}"
    title = f"invflow: student of {run.config.teacher}"
    page.write(run.directory / "report.html", title, f"{lead}; seed {run.config.seed}", sections)


def brief(run: Run) -> Brief:
    """Return what a terminal shows of the results: a title, a head and rows."""
    found = run.results
    verdict = "differ" if found.energy.differs else "no difference found"
    rows: list[tuple[str, ...]] = [
        ("KL(student || teacher), nats", "{:.4g} ± {:.2g}".format(*found.reverse)),
        ("KL(teacher || student), nats", "{:.4g} ± {:.2g}".format(*found.forward)),
        ("effective sample size", f"{found.effective:.1%} of draws"),
        ("energy test of their draws", f"p = {found.energy.p_value:.2g}: {verdict}"),
        ("student, microseconds per draw", rounded(1e6 * found.student_seconds)),
        ("teacher, microseconds per draw", rounded(1e6 * found.teacher_seconds)),
        ("speed-up", rounded(speedup(run))),
    ]
    return Brief("Student and teacher", ("measure", "value"), rows)


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


def curve(run: Run) -> Figure:
    """Draw the loss against the step."""
    rows = metrics.read(run.directory)
    lines = {
        split: [(r["step"], r["loss"]) for r in rows if r["split"] == split]
        for split in ("validation", "train")
    }
    figure = steps(lines, "loss (nats)")
    if min(r["loss"] for r in rows if math.isfinite(r["loss"])) > 0:
        figure.axes[0].set_yscale("log")
    return figure


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
    if run.density.columns_.has_integers:
        text += " Integer columns are compared before rounding."
    return text


_TRAINING = "The training loss, on new draws. The student with the best evaluation is kept."
