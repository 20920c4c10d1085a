"""A run on disk: its directory, its settings, its trained density and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from invflow import _files
from invflow.density.assess import Assessment
from invflow.density.config import Config
from invflow.density.data import Data
from invflow.density.estimator import FlowDensity
from invflow.runs import directory as runs_directory
from invflow.runs import places

MODEL = "density-run"
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
        table: where its table is, if that is still there.
        digest: of the table's file.
        density: what it has learned.
        results: what it has come to.
        rows: what it is about, where they have been read.
    """

    directory: Path
    config: Config
    table: Path
    digest: str
    density: FlowDensity
    results: Results
    rows: Data = None  # pyright: ignore[reportAssignmentType]


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
            "table": places.noted(config.data, directory),
            "sha256": digest,
        },
        lambda: _difference(_settings(directory), config, digest),
        kind="density run",
        overwrite=overwrite,
        reads=[config.data],
    )


def _difference(there: tuple[Config, Path, str], config: Config, digest: str) -> str:
    return "other data" if there[2] != digest else runs_directory.other_settings(there[0], config)


def finish(directory: Path, density: FlowDensity, results: Results) -> None:
    """Write the density and the results."""
    density.save(directory / DENSITY)
    _files.write_text(directory / runs_directory.RESULTS, results.model_dump_json(indent=2) + "\n")


def load(directory: str | Path) -> Run:
    """Return a finished run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    config, path, digest = _settings(directory)
    runs_directory.check_finished(directory)
    density = FlowDensity.load(directory / DENSITY)
    results = runs_directory.results(directory, Results.model_validate_json)
    return Run(directory, config, path, digest, density, results)


def table(directory: Path) -> Path:
    """Return where the table of a run is, or was.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: it is damaged, or of another kind.
    """
    return _settings(directory)[1]


def _settings(directory: Path) -> tuple[Config, Path, str]:
    def read(content: Any) -> tuple[Config, Path, str]:
        config = Config(**content["settings"])
        # Runs of earlier versions have the path alone that was given.
        found = content.get("table")
        path = Path(config.data) if found is None else places.found(found, directory)
        return config, path, str(content["sha256"])

    return runs_directory.settings(directory, MODEL, "density run", read)
