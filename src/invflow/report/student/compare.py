"""Several students of the same teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from invflow.distillation.run import Run
from invflow.report import figures, page
from invflow.report.comparison import (
    Comparison,
    Outcome,
    Table,
    compared,
    differing,
    labelled,
    over_seeds,
    paired,
)
from invflow.training import metrics


def compare(runs: Sequence[Run]) -> Comparison:
    """Return the comparison of finished runs.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
        ValueError: if `runs` is empty, a run is given twice, or they are of different kinds or
            have different teachers.
    """
    named = labelled(runs, lambda run: run.teacher.sha256, "teachers")
    lines = {
        label: figures.evaluations(metrics.read(run.directory), "loss")
        for label, run in named.items()
    }
    text = "The loss that each student minimises; losses with different weights are not comparable."
    return compared(
        title="invflow: comparison of students",
        lead=f"{', '.join(named)}; teacher {Path(runs[0].config.teacher).name}",
        measure="Students and teacher, nats",
        results=results(named),
        text=_TEXT,
        seeds=seeds(named),
        settings=differing({label: run.config.model_dump() for label, run in named.items()}),
        others=[
            page.Section(
                "Training",
                panels=figures.curves(lines, "loss"),
                explore=figures.chart(lines, "loss"),
                text=text,
            )
        ],
    )


def results(runs: Mapping[str, Run]) -> Table:
    """Return a head, and a row for each run."""
    head = (
        "run",
        "KL(student || teacher)",
        "difference",
        "KL(teacher || student)",
        "difference",
        "effective",
        "speed-up",
    )
    first = next(iter(runs.values()))
    rows = [
        (
            label,
            "{:.4f} ± {:.4f}".format(*run.results.reverse),
            _difference(run, first, "student_draws"),
            "{:.4f} ± {:.4f}".format(*run.results.forward),
            _difference(run, first, "teacher_draws"),
            f"{run.results.effective:.1%}",
            rounded(speedup(run)),
        )
        for label, run in runs.items()
    ]
    return [head, *rows]


def _difference(run: Run, first: Run, draws: str) -> str:
    """Return how far a divergence is above that of the first run, draw by draw."""
    mine, others = run.scores[draws], first.scores[draws]
    if run is first or len(mine) != len(others):
        return ""
    return paired(others, mine, form=".4f")


def seeds(runs: Mapping[str, Run]) -> Table:
    """Return the averages over seeds."""
    outcomes = [
        Outcome(
            label,
            "",
            run.config.seed,
            run.config.model_dump(exclude={"seed", "teacher"}),
            {
                "KL(student || teacher)": run.results.reverse[0],
                "KL(teacher || student)": run.results.forward[0],
                "speed-up": speedup(run),
            },
        )
        for label, run in runs.items()
    ]
    formats = {"KL(student || teacher)": ".4f", "KL(teacher || student)": ".4f", "speed-up": ".1f"}
    return over_seeds(outcomes, formats)


def speedup(run: Run) -> float:
    """Return how many times faster a student is sampled than its teacher."""
    return run.results.teacher_seconds / run.results.student_seconds


def rounded(value: float) -> str:
    """Return a number with three significant digits.

    Example:
        >>> rounded(2.1549), rounded(1173.2)
        ('2.15', '1,170')
    """
    return f"{float(f'{value:.3g}'):,g}"


_TEXT = (
    "Divergences in nats, ± Monte Carlo standard error; both are zero if student and teacher "
    "agree. The differences are from the first run, computed draw by draw; runs with the same "
    "seed and number of draws have random numbers in common, which makes the errors smaller. The "
    "effective column is the effective sample size of the student's draws, weighted to represent "
    "the teacher, as a percentage of the draws. The speed-up is the time per draw of the teacher "
    "divided by that of the student, each measured on the machine that trained the student."
)
