"""A posterior as a run on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

try:
    import pandas as pd
    from pydantic import BaseModel, ConfigDict
except ImportError as error:
    raise ImportError(
        'the run of a posterior needs pandas and pydantic: pip install "invflow[vi]"'
    ) from error

from invflow import _checks
from invflow._tensors import digest
from invflow.runs.directory import Begun, Input, Kind
from invflow.vi import files
from invflow.vi.config import Config
from invflow.vi.posterior import Posterior
from invflow.vi.record import Record
from invflow.vi.targets.target import Target
from invflow.vi.trust.verdict import Verdict

KIND = Kind("posterior-run", "posterior run", Config, ("model", "data"), files.WRITTEN)


class Results(BaseModel):
    """The results of a run.

    Attributes:
        verdict: whether to trust the posterior.
        record: what happened during the fit.
    """

    # k-hat may be infinite, and JSON has no such number.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    verdict: Verdict
    record: Record


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: where it is.
        config: its settings.
        inputs: its model, and its data if it has some: where they are, and their digests.
        results: the verdict, and the record of the fit.
        summary: a row for each parameter.
        draws: a row for each draw, a column for each number.
        dim: number of unconstrained dimensions.
        angular: names of the parameters that are angles.
    """

    directory: Path
    config: Config
    inputs: dict[str, Input]
    results: Results
    summary: pd.DataFrame
    draws: pd.DataFrame
    dim: int
    angular: frozenset[str]


def begun(config: Config, target: Target) -> Begun[Config]:
    """Return what the directory of a run says of it."""
    paths = {name: Path(path) for name in KIND.reads if (path := getattr(config, name))}
    inputs = {name: Input(path, digest(path)) for name, path in paths.items()}
    return Begun(config, inputs, {"dim": target.dim, "angular": sorted(target.angular)})


def finish(directory: Path, posterior: Posterior, verdict: Verdict, draws: int) -> None:
    """Write the posterior, its draws and the results."""
    files.write(posterior, verdict, directory, draws)
    results = Results(verdict=verdict, record=posterior.record or Record())
    KIND.finish(directory, json.loads(results.model_dump_json()))


def load(directory: str | Path) -> Run:
    """Return a finished run, without running its model.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    there = KIND.begun(directory)
    results = KIND.results(directory, Results.model_validate)
    summary, draws = files.read(directory)
    try:
        dim = _checks.positive_integer("dim", there.facts["dim"])
        angular = frozenset(map(str, there.facts["angular"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{directory} does not say what its parameters are: {error}") from error
    inputs = dict(there.inputs)
    return Run(directory, there.config, inputs, results, summary, draws, dim, angular)


def name(config: Config) -> str:
    """Return the name of a run that is given none."""
    return Path(config.model).stem
