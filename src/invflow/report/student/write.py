"""The page of a student's run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from invflow.density.learning import draws
from invflow.distillation.run import Run, contexts, density
from invflow.report import page
from invflow.report.density.curve import steps
from invflow.report.density.pairs import ROWS, Points, pairs
from invflow.training import metrics
from invflow.training.batches import generator

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns that are drawn.
COLUMNS = 6


def write(run: Run) -> None:
    """Write `report.html` into the directory of a student's run.

    Args:
        run: a finished run.

    Raises:
        ImportError: matplotlib or Jinja is not installed.
        FileNotFoundError, ValueError: the teacher's run is no longer there, or has changed.
    """
    page.require()
    shown = points(run)
    sections = [
        page.Section("Results", table=brief(run), text=_results(run)),
        page.Section(
            "Teacher against student",
            picture=page.encoded(pairs(shown)),
            text=(
                f"{len(shown.rows)} draws of the teacher (blue, below the diagonal), and as many "
                f"of the student (orange, above it), of {len(shown.names)} columns. A picture "
                "below the diagonal should look like its mirror image above it."
            ),
        ),
        page.Section("Training", picture=page.encoded(curve(run)), text=_TRAINING),
        page.Section("Settings", code=run.config.model_dump_json(indent=2)),
    ]
    columns = run.density.columns_
    lead = f"{run.config.flow}, {len(columns.features)} columns, taught by {run.config.teacher}"
    title = f"invflow: student of {run.config.teacher}"
    page.write(run.directory / "report.html", title, f"{lead}; seed {run.config.seed}", sections)


def brief(run: Run) -> list[tuple[str, ...]]:
    """Return the table of results: a head, and a row for each number."""
    found = run.results
    verdict = "differs" if found.energy.differs else "no difference"
    return [
        ("student and teacher", ""),
        ("KL(student || teacher), nats", f"{found.reverse[0]:.4g} ± {found.reverse[1]:.2g}"),
        ("KL(teacher || student), nats", f"{found.forward[0]:.4g} ± {found.forward[1]:.2g}"),
        ("effective share of the student's draws", f"{found.effective:.1%}"),
        ("energy test of their draws", f"p {found.energy.p_value:.2g}: {verdict}"),
        ("a draw of the student, microseconds", f"{1e6 * found.student_seconds:.3g}"),
        ("a draw of the teacher, microseconds", f"{1e6 * found.teacher_seconds:.3g}"),
        ("times as fast", f"{found.teacher_seconds / found.student_seconds:.3g}"),
    ]


def points(run: Run) -> Points:
    """Return draws of the teacher and of the student, with the same contexts."""
    teacher = density(run.teacher)
    noise = generator("cpu", run.config.seed, 3)
    given = contexts(run.teacher, teacher)
    context = torch.empty(ROWS, 0, dtype=torch.float64)
    if given is not None:
        context = given[torch.randint(len(given), (ROWS,), generator=noise)]
    columns = run.density.columns_.features[:COLUMNS]
    taught, taken = (
        draws.draw(each.model_, context, noise)[:, : len(columns)].numpy()
        for each in (teacher, run.density)
    )
    return Points([column.name for column in columns], taught, taken, held_out=False)


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
        "Both divergences are zero where student and teacher are the same, and were estimated from "
        f"{run.config.draws} draws of each. The first sees where the student is and the teacher is "
        "not; the second also modes that the student has dropped. The effective share says how "
        "many independent draws of the teacher the student's are worth, weighted. Times are "
        "medians of batches of 256 draws, in turns, on the machine that trained."
    )
    text += f" Of their draws: {run.results.energy}."
    if run.density.columns_.has_integers:
        text += " Whole numbers are compared before they are rounded."
    return text


_TRAINING = (
    "What training minimises, on fresh draws. Of everything evaluated on the way the best is kept."
)
