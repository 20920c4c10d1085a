"""A density of a table taught to a flow that is fast to sample, and compared with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from invflow.density.checks.two_sample import two_sample
from invflow.density.run import SAVED
from invflow.density.table import Columns
from invflow.distillation import run
from invflow.distillation.closeness import Closeness, closeness
from invflow.distillation.config import Config
from invflow.distillation.learn import learn, numbers, objective, teacher, untaught
from invflow.distillation.run import Results, Run
from invflow.runs.directory import is_finished
from invflow.training import metrics


def train(
    config: Config,
    directory: str | Path,
    *,
    overwrite: bool = False,
    report: Callable[[int, str], None] = lambda step, line: None,
) -> Run:
    """Teach a student, compare it with its teacher, and put everything on disk.

    A run that was stopped resumes from its last checkpoint, and one that is finished is returned as
    it is.

    Args:
        config: the settings.
        directory: of the run; made if it does not exist.
        overwrite: start from scratch if there is already a run.
        report: called after every training step.

    Raises:
        FileExistsError: if the directory holds another run, or something else.
        FileNotFoundError, ValueError: if something is wrong with the teacher or with the settings.
        FloatingPointError: if the training diverges.
    """
    directory, taught_by = Path(directory), Path(config.teacher)
    *students, _ = run.lineage(taught_by)
    if directory.resolve() in (each.resolve() for each in students):
        raise FileExistsError(f"{directory} teaches the new student; choose another --name")
    taught = run.density(taught_by)
    at = run.contexts(taught_by, taught)
    # What would fail, fails before anything is on disk.
    metrics.require()
    objective(config)
    untaught(taught, config)
    asked = run.begun(config, _digest(taught_by))
    run.KIND.prepare(directory, asked, overwrite=overwrite)
    if is_finished(directory):
        report(config.steps, "already finished")
        return run.load(directory)
    student = learn(taught, config, at, directory, report)
    found = closeness(
        teacher(taught, at), numbers(student), count=config.evaluation_draws, seed=config.seed
    )
    results = _results(found, _names(taught.columns_), config.seed)
    run.finish(directory, student, results, _scores(found))
    return run.load(directory)


def _digest(directory: Path) -> str:
    """Return what tells a saved density from others."""
    files = (directory / name for name in SAVED)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _names(columns: Columns) -> list[str] | None:
    """Return the names of the numbers, then of what encodes the context and the categories."""
    numbers = [column for column in columns.features if not column.is_categorical]
    named = [column for column in columns.features if column.is_categorical]
    names = [str(column.name) for column in numbers]
    for column in (*columns.context, *named):
        values = [f"={value}" for value in column.categories] or [""]
        names += [f"{column.name}{value}" for value in values]
    return names if len(set(names)) == len(names) else None


def _scores(found: Closeness) -> dict[str, Tensor]:
    """Return what is kept of each draw: the higher, the closer."""
    ratios = {"student_draws": found.student_ratios, "teacher_draws": found.teacher_ratios}
    return {name: -each for name, each in ratios.items() if each is not None}


def _results(found: Closeness, columns: Sequence[str] | None, seed: int) -> Results:
    names = ("student", "teacher")
    mine, others = (
        torch.cat([part for part in getattr(found, name) if part is not None], -1).double().numpy()
        for name in names
    )
    return Results(
        reverse=(found.reverse, found.reverse_error),
        forward=(found.forward, found.forward_error),
        effective=found.effective,
        energy=two_sample(others, mine, names=columns, seed=seed),
        student_seconds=found.student_seconds,
        teacher_seconds=found.teacher_seconds,
    )
