"""The posterior of observed data, learned from simulations in a table, and put on disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

try:
    import pandas as pd
except ImportError as error:
    raise ImportError(
        'the run of a simulator needs pandas: pip install "invflow[simulation]"'
    ) from error

from invflow.runs.directory import is_finished
from invflow.simulation import data, run
from invflow.simulation.config import Config
from invflow.simulation.data import Data
from invflow.simulation.fit import fit
from invflow.simulation.nle import NLE
from invflow.simulation.npe import NPE
from invflow.simulation.posterior import Posterior
from invflow.simulation.run import PRIOR_SD, RATIO, Judged, Results, Run
from invflow.simulation.simulations import Simulations, one
from invflow.training import metrics

#: The fewest simulations near the posterior that say anything.
ENOUGH_NEAR = 50


def train(
    config: Config,
    directory: str | Path,
    *,
    overwrite: bool = False,
    report: Callable[[int, str], None] = lambda step, line: None,
) -> Run:
    """Learn the posterior of observed data, judge it, and put everything on disk.

    A run that was stopped resumes from its last checkpoint, and one that is finished is returned as
    it is. Nothing on disk is touched before the data and the settings have been tried.

    Args:
        config: the settings.
        directory: of the run; made if it does not exist.
        overwrite: start from scratch if there is already a run.
        report: called after every training step.

    Raises:
        ImportError: if an extra is not installed.
        FileExistsError: if the directory holds another run, or something else.
        FileNotFoundError, ValueError: if something is wrong with the data or with the settings.
        FloatingPointError: if the training diverges.
    """
    directory = Path(directory)
    metrics.require()
    prior = data.prior(config)
    found = data.load(config, prior)
    if config.method == "nle" and not prior.has_density:
        raise ValueError("--method nle needs a distribution as --prior of every parameter")
    if config.method == "npe":
        one(found.observed)
    asked = run.begun(config, found)
    if is_finished(directory) and not overwrite:
        run.KIND.prepare(directory, asked, overwrite=False)
        report(0, "already finished")
        return run.load(directory)
    started = time.perf_counter()
    estimator = fit(
        found.train,
        prior,
        method=config.method,
        settings=config.settings,
        seed=config.seed,
        report=report,
        directory=directory,
        ready=lambda: run.KIND.prepare(directory, asked, overwrite=overwrite),
    )
    posterior = estimator.posterior(found.observed)
    results = _results(estimator, posterior, found, time.perf_counter() - started)
    run.finish(directory, estimator, posterior, _summary(posterior, found), results, config.draws)
    return run.load(directory)


def _results(estimator: NPE | NLE, posterior: Posterior, found: Data, seconds: float) -> Results:
    count = len(found.test) // 4
    near = None
    if count >= ENOUGH_NEAR:
        near = Judged.of(estimator.assess(_near(estimator, posterior, found, count)))
    return Results(
        distance=posterior.distance,
        judged=Judged.of(estimator.assess(found.test)),
        near=near,
        verdict=posterior.weighted().diagnose() if isinstance(estimator, NLE) else None,
        observed=found.observed.tolist(),
        learned=len(found.train),
        dropped=found.dropped,
        seconds=seconds,
    )


def _near(estimator: NPE | NLE, posterior: Posterior, found: Data, count: int) -> Simulations:
    """Return the simulations near the posterior."""
    if isinstance(estimator, NLE):
        return estimator.nearest(found.test, posterior, count)
    return estimator.nearest(found.test, found.observed, count)


def _summary(posterior: Posterior, found: Data) -> pd.DataFrame:
    """Return the summary, with the spread of the simulations, and that of the posterior in it."""
    summary = posterior.summary().drop(columns="mcse")
    spread = found.train.parameters.std(0).tolist()
    return summary.assign(**{PRIOR_SD: spread, RATIO: summary["sd"] / spread})
