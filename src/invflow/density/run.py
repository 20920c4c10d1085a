"""A run on disk: its directory, its settings, its trained density and how good it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

try:
    from pydantic import BaseModel, ConfigDict
except ImportError as error:
    raise ImportError(
        'the run of a density needs pydantic: pip install "invflow[density]"'
    ) from error
from torch import Tensor

from invflow import _saving
from invflow.density.assess import Assessment
from invflow.density.config import Config
from invflow.density.data import Data
from invflow.density.data import load as read
from invflow.density.estimator import FlowDensity
from invflow.density.table.files.read import READABLE, suffix
from invflow.runs import scores
from invflow.runs.directory import Begun, Input, Kind
from invflow.runs.scores import Column

#: Where in a run's directory the density is.
DENSITY = "model"
#: The files of a saved density, relative to the directory of a run.
SAVED = (f"{DENSITY}/{_saving.CONFIG}", f"{DENSITY}/{_saving.TENSORS}")
KIND = Kind("density-run", "density run", Config, ("data",), (*SAVED, scores.FILE))
#: What `runs.scores` keeps of the test rows: a density of zero has the logarithm minus infinity.
LOG_DENSITY = "log_density"
COLUMNS = {LOG_DENSITY: Column(("rows",), bounded=False)}


class Results(BaseModel):
    """The results of a run.

    Attributes:
        assessment: how well the density fits the test rows.
        seconds: of training.
        settled: what was detected and decided about the table, a line for each.
    """

    # A density of zero has the logarithm minus infinity, and JSON knows no such number.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    assessment: Assessment
    seconds: float
    settled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: where it is.
        config: its settings.
        data: its table: where that is, and its digest.
        density: what it has learned.
        results: how good it is.
        scores: log density of each test row in nats, (rows,).
        known: the rows of the table, if they have been read already.
    """

    directory: Path
    config: Config
    data: Input
    density: FlowDensity
    results: Results
    scores: Tensor
    known: Data | None = None

    @property
    def rows(self) -> Data:
        """The rows of the table.

        Raises:
            FileNotFoundError, ValueError: if it is no longer there, or has changed.
        """
        if self.known is not None:
            return self.known
        rows = read(self.config, self.data.path)
        if rows.digest != self.data.sha256:
            raise ValueError(f"{self.data.path} has changed since {self.directory} was trained")
        return rows


def begun(config: Config, digest: str) -> Begun[Config]:
    """Return what the directory of a run says of it."""
    return Begun(config, {"data": Input(Path(config.data), digest)})


def finish(directory: Path, density: FlowDensity, results: Results, log_density: Tensor) -> None:
    """Write the density, the results and the log density of each test row."""
    density.save(directory / DENSITY)
    scores.write(directory, {LOG_DENSITY: log_density.double()})
    KIND.finish(directory, json.loads(results.model_dump_json()))


def load(directory: str | Path, rows: Data | None = None) -> Run:
    """Return a finished run.

    Args:
        directory: of the run.
        rows: those of its table, if they have been read already.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    there = KIND.begun(directory)
    results = KIND.results(directory, Results.model_validate)
    density = FlowDensity.load(directory / DENSITY)
    log_density = scores.read(directory, COLUMNS)[LOG_DENSITY]
    return Run(directory, there.config, there.inputs["data"], density, results, log_density, rows)


def name(config: Config) -> str:
    """Return the name of a run that is given none."""
    file = Path(config.data)
    return file.name[: -len(suffix(file, READABLE))]


def table(directory: Path) -> Path:
    """Return where the table of a run is, or was.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if it is damaged, or of another kind.
    """
    return KIND.begun(directory).inputs["data"].path or Path()
