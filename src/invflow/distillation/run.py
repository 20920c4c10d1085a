"""A student on disk: its settings, its density, and how close it has come to its teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from invflow import _files, _saving
from invflow.density import data, run
from invflow.density.checks.two_sample import EnergyTest, two_sample
from invflow.density.estimator import FlowDensity
from invflow.density.table import Rows
from invflow.distillation import Closeness, closeness
from invflow.distillation.config import Config
from invflow.distillation.learn import learn, objective, teacher, untaught
from invflow.runs import directory as runs_directory
from invflow.runs import places
from invflow.training import metrics

MODEL = "student-run"
KIND = "student's run"


class Results(BaseModel):
    """How close a student has come to its teacher, and how much faster it is.

    Attributes:
        reverse: KL(student || teacher) in nats, with its Monte Carlo standard error.
        forward: KL(teacher || student), likewise.
        effective: effective sample size of the student's draws, weighted to be the teacher's, as a
            share of them.
        energy: the energy test of the student's draws against the teacher's.
        student_seconds: for a draw, in batches.
        teacher_seconds: for a draw, timed in turns with the student.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    reverse: tuple[float, float]
    forward: tuple[float, float]
    effective: float
    energy: EnergyTest
    student_seconds: float
    teacher_seconds: float


@dataclass(frozen=True)
class Run:
    """A finished run of a student.

    Attributes:
        directory: where it is.
        config: its settings.
        teacher: where its teacher is, if that is still there.
        density: what it has learned.
        results: how close it has come.
    """

    directory: Path
    config: Config
    teacher: Path
    density: FlowDensity
    results: Results


def train(
    config: Config,
    directory: str | Path,
    *,
    overwrite: bool = False,
    report: Callable[[int, str], None] = lambda step, line: None,
) -> Run:
    """Teach a student, compare it with its teacher, and put everything on disk.

    A run that was stopped half way goes on from its last checkpoint, and one that is finished is
    returned as it is.

    Args:
        config: the settings.
        directory: of the run; made if it does not exist.
        overwrite: begin anew where there is a run already.
        report: told of every training step.

    Raises:
        FileExistsError: the directory holds another run, or something else.
        FileNotFoundError, ValueError: something is wrong with the teacher or with the settings.
        FloatingPointError: the training diverges.
    """
    directory, taught_by = Path(directory), Path(config.teacher)
    *students, _ = lineage(taught_by)
    if directory.resolve() in (each.resolve() for each in students):
        raise FileExistsError(f"{directory} teaches the new student; choose another --name")
    taught = density(taught_by)
    at = contexts(taught_by, taught)
    # What would fail, fails before anything is on disk.
    metrics.require()
    objective(config)
    untaught(taught, config)
    digest = _digest(taught_by / run.DENSITY)
    prepare(directory, config, digest, overwrite=overwrite)
    if runs_directory.is_finished(directory):
        report(config.steps, "finished already")
        return load(directory)
    student = learn(taught, config, at, directory, report)
    student.save(directory / run.DENSITY)
    found = closeness(
        teacher(taught, at), student.model_.flow, count=config.draws, seed=config.seed
    )
    results = _results(found, config.seed)
    _files.write_text(directory / runs_directory.RESULTS, results.model_dump_json(indent=2) + "\n")
    return load(directory)


def prepare(directory: Path, config: Config, digest: str, *, overwrite: bool) -> None:
    """Make the directory of a run, or see that it holds the same run, to go on with.

    Raises:
        FileExistsError: it holds another run, or something else.
    """
    runs_directory.prepare(
        directory,
        MODEL,
        {
            "settings": config.model_dump(mode="json"),
            "teacher": places.noted(Path(config.teacher), directory),
            "sha256": digest,
        },
        lambda: _difference(_settings(directory), config, digest),
        kind=KIND,
        overwrite=overwrite,
        reads=[config.teacher],
    )


def load(directory: str | Path) -> Run:
    """Return the finished run of a student.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    config, taught_by, _ = _settings(directory)
    runs_directory.check_finished(directory)
    density = FlowDensity.load(directory / run.DENSITY)
    return Run(
        directory,
        config,
        taught_by,
        density,
        runs_directory.results(directory, Results.model_validate_json),
    )


def density(directory: str | Path) -> FlowDensity:
    """Return the density of a finished run, learned from a table or from another density.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    if (kind := runs_directory.model(directory)) not in (run.MODEL, MODEL):
        raise ValueError(f"{directory} holds the model {kind!r}, expected a density")
    runs_directory.check_finished(directory)
    return FlowDensity.load(directory / run.DENSITY)


def table(directory: str | Path) -> Path | None:
    """Return the table that a run's density goes back to, None where the teacher is gone.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: it is damaged, or of another kind, or taught by itself.
    """
    *_, last = lineage(Path(directory))
    return run.table(last) if last.is_dir() else None


def lineage(directory: Path) -> list[Path]:
    """Return a run, its teacher, the teacher's teacher, and so on to one that has learned a table.

    The last one may be gone, where it is a teacher.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: one is damaged, or of another kind, or taught by itself.
    """
    found = [directory]
    while runs_directory.model(found[-1]) == MODEL:
        taught_by = _settings(found[-1])[1]
        if taught_by.resolve() in (each.resolve() for each in found):
            raise ValueError(f"{found[-1]} is damaged: its teacher, {taught_by}, is taught by it")
        found.append(taught_by)
        if not taught_by.is_dir():
            break
    return found


def _difference(there: tuple[Config, Path, str], config: Config, digest: str) -> str:
    return (
        "another teacher" if there[2] != digest else runs_directory.other_settings(there[0], config)
    )


def _digest(directory: Path) -> str:
    """Return what tells a saved density from others."""
    files = (directory / name for name in (_saving.CONFIG, _saving.TENSORS))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _settings(directory: Path) -> tuple[Config, Path, str]:
    def read(content: Any) -> tuple[Config, Path, str]:
        config = Config(**content["settings"])
        # Runs of earlier versions have the path alone that was given.
        found = content.get("teacher")
        path = Path(config.teacher) if found is None else places.found(found, directory)
        return config, path, str(content["sha256"])

    return runs_directory.settings(directory, MODEL, KIND, read)


def contexts(directory: str | Path, density: FlowDensity) -> Tensor | None:
    """Return the contexts of the rows that a teacher has learned, None if it has none.

    Raises:
        FileNotFoundError: its table is no longer there.
        ValueError: the teacher is a student itself, or its table has changed.
    """
    if not density.columns_.context:
        return None
    learned = run.load(directory)
    if not learned.table.is_file():
        raise FileNotFoundError(
            f"{learned.table}, the table of {directory}, does not exist: a conditional density is "
            "taught at the contexts in it"
        )
    rows = data.load(learned.config, learned.table)
    if rows.digest != learned.digest:
        raise ValueError(
            f"{learned.table} has changed since {directory} was learned, and a conditional "
            "density is taught at the contexts in it"
        )
    train = Rows(rows.train, density.columns_)
    return torch.cat([train.block(number)[1] for number in range(len(train.blocks))])


def _results(found: Closeness, seed: int) -> Results:
    names = ("student", "teacher")
    mine, others = (
        torch.cat([part for part in getattr(found, name) if part is not None], -1).double().numpy()
        for name in names
    )
    return Results(
        reverse=(found.reverse, found.reverse_error),
        forward=(found.forward, found.forward_error),
        effective=found.effective,
        energy=two_sample(others, mine, seed=seed),
        student_seconds=found.student_seconds,
        teacher_seconds=found.teacher_seconds,
    )
