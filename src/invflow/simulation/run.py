"""Inference from simulations as a run on disk."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import torch

try:
    import pandas as pd
    from pydantic import BaseModel, ConfigDict
except ImportError as error:
    raise ImportError(
        'the run of a simulator needs pandas and pydantic: pip install "invflow[simulation]"'
    ) from error

from invflow import _files
from invflow._uniformity import Uniformity
from invflow.density.table.files.read import READABLE, suffix
from invflow.flows.named import Named
from invflow.runs.directory import Begun, Input, Kind
from invflow.simulation.assess import Assessment
from invflow.simulation.config import Config
from invflow.simulation.data import Data, prior
from invflow.simulation.distance import Distance
from invflow.simulation.nle import NLE
from invflow.simulation.npe import NPE
from invflow.simulation.posterior import Posterior
from invflow.vi import Verdict

#: Where in a run's directory the estimator is, and the flow that "nle" fits to its likelihood.
MODEL, FITTED = "model", "posterior"
#: Columns of the summary beside those of `Posterior.summary`.
PRIOR_SD, RATIO = "prior sd", "sd / prior sd"
DRAWS, SUMMARY = "draws.parquet", "summary.csv"
KIND = Kind(
    "inference-run",
    "inference run",
    Config,
    ("simulations", "observed"),
    (f"{MODEL}/config.json", f"{MODEL}/model.safetensors", DRAWS, SUMMARY),
)
#: Bars of the histograms of ranks.
BARS = 20


class Judged(BaseModel):
    """What simulations that were not learned from say about the densities.

    Attributes:
        tests: uniformity of the ranks of each parameter, and of the density.
        histograms: counts of these ranks in equal parts of the unit interval.
        coverage: expected coverage of highest-density regions, by nominal probability.
        coverage_error: its standard error.
        log_prob: mean log density in nats.
        log_prob_error: its standard error.
        simulations: number of simulations.
        rejected: what has ranks that are not uniform.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    tests: tuple[Uniformity, ...]
    histograms: dict[str, list[int]]
    coverage: dict[float, float]
    coverage_error: dict[float, float]
    log_prob: float
    log_prob_error: float
    simulations: int
    rejected: list[str]

    @classmethod
    def of(cls, found: Assessment) -> Judged:
        """Return what an assessment says."""
        ranks, most = found.calibration.ranks, found.calibration.draws
        return cls(
            tests=found.calibration.tests,
            histograms={
                str(name): torch.histc(
                    torch.tensor(ranks[name].to_numpy(dtype="float64")), BARS, 0, most
                )
                .long()
                .tolist()
                for name in ranks
            },
            coverage=found.coverage,
            coverage_error=found.coverage_error,
            log_prob=found.log_prob,
            log_prob_error=found.log_prob_error,
            simulations=found.simulations,
            rejected=found.calibration.rejected,
        )


class Results(BaseModel):
    """The results of a run.

    Attributes:
        distance: how far the observed data are from the simulations.
        judged: what other simulations say; for "nle", about the likelihood.
        near: what those of them say that are most like the observed data, or for "nle" whose
            parameters are the most probable; None if there are few.
        verdict: of importance weights by the learned likelihood; None for "npe".
        observed: the observed data, a list for each observation.
        learned: number of simulations that were learned from, or stopped by.
        dropped: number that were left out for missing or infinite numbers.
        seconds: of training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    distance: Distance
    judged: Judged
    near: Judged | None
    verdict: Verdict | None
    observed: list[list[float]]
    learned: int
    dropped: int
    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: where it is.
        config: its settings.
        inputs: its simulations and observed data: where they are, and their digests.
        results: how far it can be trusted.
        summary: a row for each parameter.
        draws: a row for each draw, a column for each parameter.
    """

    directory: Path
    config: Config
    inputs: dict[str, Input]
    results: Results
    summary: pd.DataFrame
    draws: pd.DataFrame

    def posterior(self) -> Posterior:
        """Return the posterior given the observed data.

        Raises:
            FileNotFoundError, OSError: if a file is missing or cannot be read.
            ValueError: if a file is damaged.
        """
        known = prior(self.config)
        x = torch.tensor(self.results.observed, dtype=torch.float64)
        if self.config.method == "npe":
            return NPE.load(self.directory / MODEL, known).posterior(x)
        learned = NLE.load(self.directory / MODEL, known)
        return learned.fitted(x, Named.from_pretrained(self.directory / FITTED))


def begun(config: Config, data: Data) -> Begun[Config]:
    """Return what the directory of a run says of it."""
    paths = Path(config.simulations), Path(config.observed)
    inputs = {
        name: Input(path, sha256)
        for name, path, sha256 in zip(KIND.reads, paths, data.digests, strict=True)
    }
    return Begun(config, inputs)


def finish(
    directory: Path,
    estimator: NPE | NLE,
    posterior: Posterior,
    summary: pd.DataFrame,
    results: Results,
    draws: int,
) -> None:
    """Write the estimator, draws, a summary and the results, each file whole."""
    estimator.save(directory / MODEL)
    if isinstance(estimator, NLE):
        posterior.flows[0].save_pretrained(directory / FITTED)
    with _files.replacing(directory / DRAWS) as temporary:
        posterior.to_pandas(draws).to_parquet(temporary)
    text = io.StringIO()
    summary.to_csv(text, index_label="parameter")
    _files.write_text(directory / SUMMARY, text.getvalue())
    KIND.finish(directory, json.loads(results.model_dump_json()))


def load(directory: str | Path) -> Run:
    """Return a finished run.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    there = KIND.begun(directory)
    results = KIND.results(directory, Results.model_validate)
    summary = pd.read_csv(directory / SUMMARY, index_col="parameter")
    draws = pd.read_parquet(directory / DRAWS)
    return Run(directory, there.config, dict(there.inputs), results, summary, draws)


def name(config: Config) -> str:
    """Return the name of a run that is given none."""
    file = Path(config.simulations)
    return file.name[: -len(suffix(file, READABLE))]
