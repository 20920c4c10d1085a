"""A student on disk: its settings, its density, and how close it has come to its teacher."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

try:
    from pydantic import BaseModel, ConfigDict
except ImportError as error:
    raise ImportError(
        'the run of a student needs pydantic: pip install "invflow[density]"'
    ) from error
from torch import Tensor

from invflow.density import run
from invflow.density.checks.two_sample import EnergyTest
from invflow.density.config import Config as LearnedFrom
from invflow.density.estimator import FlowDensity
from invflow.density.table import Rows
from invflow.distillation.config import Config
from invflow.runs import scores
from invflow.runs.directory import Begun, Input, Kind, kind_of
from invflow.runs.scores import Column

KIND = Kind("student-run", "distillation run", Config, ("teacher",), (*run.SAVED, scores.FILE))
#: What `runs.scores` keeps of the draws: minus infinity where the other density is zero.
COLUMNS = {
    "student_draws": Column(("count",), bounded=False),
    "teacher_draws": Column(("count",), bounded=False),
}


class Results(BaseModel):
    """How close a student has come to its teacher, and how much faster it is.

    Attributes:
        reverse: KL(student || teacher) in nats, with its Monte Carlo standard error.
        forward: KL(teacher || student) in nats, with its Monte Carlo standard error.
        effective: effective sample size of the student's draws, weighted to be the teacher's, as a
            fraction of their number.
        energy: the energy test of the student's draws against the teacher's.
        student_seconds: for a draw, in batches.
        teacher_seconds: for a draw, timed alternately with the student.
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
        teacher: where its teacher is, and its digest.
        density: what it has learned.
        results: how close it has come.
        scores: log p - log q at each of the "student_draws", and log q - log p at each of the
            "teacher_draws", (count,), of the teacher's density p and the student's q. Their means
            are minus the divergences.
    """

    directory: Path
    config: Config
    teacher: Input
    density: FlowDensity
    results: Results
    scores: Mapping[str, Tensor]


def begun(config: Config, digest: str) -> Begun[Config]:
    """Return what the directory of a run says of it."""
    return Begun(config, {"teacher": Input(Path(config.teacher), digest)})


def finish(
    directory: Path, density: FlowDensity, results: Results, columns: Mapping[str, Tensor]
) -> None:
    """Write the student, the results, and the scores of each draw."""
    density.save(directory / run.DENSITY)
    scores.write(directory, columns)
    KIND.finish(directory, json.loads(results.model_dump_json()))


def load(directory: str | Path) -> Run:
    """Return the finished run of a student.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    there = KIND.begun(directory)
    results = KIND.results(directory, Results.model_validate)
    density = FlowDensity.load(directory / run.DENSITY)
    columns = scores.read(directory, COLUMNS)
    return Run(directory, there.config, there.inputs["teacher"], density, results, columns)


def name(config: Config) -> str:
    """Return the name of a run that is given none."""
    return f"{Path(config.teacher).resolve().name}-{config.flow}"


def density(directory: str | Path) -> FlowDensity:
    """Return the density of a finished run, learned from a table or from another density.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    kinds = {kind.name: kind for kind in (run.KIND, KIND)}
    if (name := kind_of(directory)) not in kinds:
        raise ValueError(f"{directory} holds a {name!r}, expected a density")
    kinds[name].results(directory, lambda content: None)
    return FlowDensity.load(directory / run.DENSITY)


def table(directory: str | Path) -> Path | None:
    """Return the table that a run's density goes back to, None where the teacher is gone.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if it is damaged, or of another kind, or taught by itself.
    """
    *_, last = lineage(Path(directory))
    return run.table(last) if last.is_dir() else None


def learned(directory: str | Path) -> LearnedFrom | None:
    """Return the settings of the run of a table that a run's density goes back to, None if gone.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if it is damaged, or of another kind, or taught by itself.
    """
    *_, last = lineage(Path(directory))
    return run.KIND.begun(last).config if last.is_dir() else None


def lineage(directory: Path) -> list[Path]:
    """Return a run, its teacher, the teacher's teacher, and so on to one that has learned a table.

    The last one may be gone, where it is a teacher.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if one is damaged, or of another kind, or taught by itself.
    """
    found = [directory]
    while kind_of(found[-1]) == KIND.name:
        taught_by = KIND.begun(found[-1]).inputs["teacher"].path or Path()
        if taught_by.resolve() in (each.resolve() for each in found):
            raise ValueError(f"{found[-1]} is damaged: its teacher, {taught_by}, is taught by it")
        found.append(taught_by)
        if not taught_by.is_dir():
            break
    return found


def contexts(directory: str | Path, density: FlowDensity) -> Tensor | None:
    """Return the contexts of the rows that a teacher has learned, None if it has none.

    Raises:
        FileNotFoundError: if its table is no longer there.
        ValueError: if the teacher is a student itself, or its table has changed.
    """
    if not density.columns_.context:
        return None
    learned = run.load(directory)
    try:
        rows = learned.rows
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(
            f"{error}: a conditional density is taught at the contexts in its table"
        ) from error
    train = Rows(rows.train, density.columns_)
    contexts = [train.block(number)[1] for number in range(len(train.blocks))]
    return torch.cat(contexts).double()
