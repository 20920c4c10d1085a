"""Several students of the same teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from invflow._averages import mean_and_error
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
from invflow.report.ranking import Differences, leader
from invflow.training import metrics

#: The divergences, and the draws whose scores give them.
DIVERGENCES = (
    ("KL(student || teacher)", "student_draws"),
    ("KL(teacher || student)", "teacher_draws"),
)


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
        verdict=ahead(named),
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


def ahead(runs: Mapping[str, Run]) -> page.Verdict | None:
    """Return which student is closer to the teacher; None if there is only one."""

    def better(mine: Outcome, others: Outcome) -> Differences:
        both = runs[mine.label].scores, runs[others.label].scores
        return {name: _above(*(each[draws] for each in both)) for name, draws in DIVERGENCES}

    return leader(outcomes(runs), better, DIVERGENCES[0][0], ".4f")


def _above(mine: Tensor, others: Tensor) -> tuple[float, float]:
    """Return how far the mean of scores is above that of others, draw by draw if there are as many.

    With as many draws, those with the same number have random numbers in common.
    """
    if len(mine) == len(others):
        return mean_and_error(mine - others)
    (mean, error), (other, others_error) = map(mean_and_error, (mine, others))
    return mean - other, math.hypot(error, others_error)


def seeds(runs: Mapping[str, Run]) -> Table:
    """Return the averages over seeds."""
    names = [name for name, _ in DIVERGENCES]
    return over_seeds(outcomes(runs), dict.fromkeys(names, ".4f") | {"speed-up": ".1f"})


def outcomes(runs: Mapping[str, Run]) -> list[Outcome]:
    """Return what each student reached."""
    return [
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
