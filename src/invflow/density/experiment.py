"""A density learned from a table, and judged by rows that it has not seen."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path

import numpy as np
import torch

from invflow.density import data, run
from invflow.density.assess import assess
from invflow.density.config import Config
from invflow.density.estimator import FlowDensity
from invflow.density.run import Results, Run
from invflow.density.settle import settle
from invflow.density.table import Columns, Source, arrays, bounded, standardise, survey
from invflow.density.table.source import blocks
from invflow.runs.directory import is_finished
from invflow.training import metrics
from invflow.training.loop import Report


def train(
    config: Config,
    directory: str | Path,
    *,
    overwrite: bool = False,
    report: Report = lambda step, line: None,
) -> Run:
    """Learn the density of a table, judge it, and put everything on disk.

    A run that was stopped resumes from its last checkpoint, and one that is finished is returned as
    it is. Nothing on disk is touched before the data and the settings have been tried.

    Test rows never influence the density: everything that is estimated comes from the other rows,
    including the means and scales that standardise the columns, the frequencies of categories, and
    the bounds of numbers that are not given. Validation rows are among these other rows, because
    they influence when training stops. What columns contain, however, is read from all rows: their
    kinds, the steps of numbers and the parts of dates, and which categories exist, define what is
    measured and the units of the density. A category of the test rows alone has a probability like
    one that is very rare.

    Decisions that the settings leave open are made first, with a warning for each (`settle`).

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
    config, settled = settle(config)
    rows = data.load(config)
    for line in settled:
        warnings.warn(f"{config.data}: {line}", UserWarning, stacklevel=2)
    asked = run.begun(config, rows.digest)

    def prepare() -> None:
        run.KIND.prepare(directory, asked, overwrite=overwrite)

    if is_finished(directory) and not overwrite:
        prepare()
        finished = run.load(directory, rows)
        report(finished.density.settings_.steps, "already finished")
        return finished
    # Of all rows, as a category or a fraction may be among those of the test alone.
    columns = survey(rows.whole, config.kinds, config.conditional_on, config.missing)
    _check(rows.test, columns)
    columns = standardise(bounded(columns, rows.train), rows.train)
    _check_contexts(rows.whole, columns)
    density = build(config)
    density.learn(rows.train, columns=columns, directory=directory, report=report, ready=prepare)
    scores = density.score_samples(rows.test)
    assessment = assess(density, rows.test, config.seed, scores)
    seconds = [row["seconds"] for row in metrics.read(directory) if row["split"] == "train"]
    results = Results(assessment=assessment, seconds=seconds[-1], settled=settled)
    run.finish(directory, density, results, torch.from_numpy(scores))
    return run.load(directory, rows)


def build(config: Config) -> FlowDensity:
    """Return the estimator that a run is about, not yet fitted."""
    shared = inspect.signature(FlowDensity).parameters.keys() & Config.model_fields.keys()
    arguments = {name: getattr(config, name) for name in shared}
    return FlowDensity(**arguments, random_state=config.seed)


def _check(test: Source, columns: Columns) -> None:
    """See that every column has values to be judged by."""
    names = list(dict.fromkeys(column.of for column in columns.features))
    counts = np.sum([frame[names].notna().sum() for frame in blocks(test)], axis=0)
    for name, count in zip(names, counts.tolist(), strict=True):
        if count < 2:
            raise ValueError(
                f"column {name!r} has {count} value(s) among the {sum(test.blocks)} test rows, "
                "2 or more are needed: take a larger test fraction, or leave it out"
            )


def _check_contexts(whole: Source, columns: Columns) -> None:
    """See that nothing the density is given is too far from what it has learned with."""
    if columns.context:
        first = 0
        for frame in blocks(whole):
            arrays.context(frame, columns, first)
            first += len(frame)
