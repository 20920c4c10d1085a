"""A run on disk: its directory, its settings, its trained density and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from invflow import _files, _runs, _saving
from invflow.density.assess import Assessment
from invflow.density.config import Config
from invflow.density.estimator import FlowDensity

MODEL = "density-run"
#: The kinds of run that have a density.
KINDS = (MODEL, "student-run")
#: Where in a run's directory the density is.
DENSITY = "model"


class Results(BaseModel):
    """What a run has come to.

    Attributes:
        assessment: how well the density fits the test rows.
        seconds: of training.
    """

    # A density of zero has the logarithm minus infinity, and JSON knows no such number.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    assessment: Assessment
    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: where it is.
        config: its settings.
        digest: of the table's file.
        density: what it has learned.
        results: what it has come to.
    """

    directory: Path
    config: Config
    digest: str
    density: FlowDensity
    results: Results


def prepare(directory: Path, config: Config, digest: str, *, overwrite: bool) -> None:
    """Make the directory of a run, or see that it holds the same run, to go on with.

    Raises:
        FileExistsError: it holds another run, or something else.
    """
    _runs.prepare(
        directory,
        MODEL,
        {"settings": config.model_dump(mode="json"), "sha256": digest},
        lambda: _difference(_settings(directory), (config, digest)),
        kind="density run",
        overwrite=overwrite,
    )


def _difference(there: tuple[Config, str], asked: tuple[Config, str]) -> str:
    return "other data" if there[1] != asked[1] else _runs.other_settings(there[0], asked[0])


def finish(directory: Path, density: FlowDensity, results: Results) -> None:
    """Write the density and the results."""
    density.save(directory / DENSITY)
    _files.write_text(directory / _runs.RESULTS, results.model_dump_json(indent=2) + "\n")


def load(directory: str | Path) -> Run:
    """Return a finished run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} does not exist")
    config, digest = _settings(directory)
    learned = density(directory)
    path = directory / _runs.RESULTS
    try:
        results = Results.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} does not hold the results of this run: {error}") from error
    return Run(directory, config, digest, learned, results)


def density(directory: str | Path) -> FlowDensity:
    """Return the density of a finished run, learned from a table or from another density.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    if (kind := _runs.model(directory)) not in KINDS:
        raise ValueError(f"{directory} holds the model {kind!r}, expected a density")
    if not _runs.is_finished(directory):
        raise ValueError(
            f"{directory} holds an unfinished run; the command that began it goes on with it"
        )
    return FlowDensity.load(directory / DENSITY)


def _settings(directory: Path) -> tuple[Config, str]:
    kind, content = _saving.read_config(directory)
    if kind != MODEL:
        raise ValueError(f"{directory} holds the model {kind!r}, expected a density run")
    try:
        return Config(**content["settings"]), str(content["sha256"])
    except (KeyError, TypeError, ValidationError) as error:
        raise ValueError(f"{directory} has a configuration of another kind: {error}") from error
