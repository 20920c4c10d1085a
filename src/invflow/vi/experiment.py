"""The posterior of a model in a file, fitted, judged, and put on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from invflow.runs.directory import is_finished
from invflow.vi import run
from invflow.vi.config import Config
from invflow.vi.fitting.fit import fit
from invflow.vi.run import Run
from invflow.vi.targets import model_file
from invflow.vi.trust._arviz import arviz


def train(
    config: Config,
    directory: str | Path,
    *,
    overwrite: bool = False,
    report: Callable[[int, str], None] = lambda step, line: None,
) -> Run:
    """Fit the posterior of a model, judge it, and put everything on disk.

    An unfinished run is resumed, and a finished one is returned as it is. Nothing on disk is
    touched before the model has been tried and its modes have been found.

    Args:
        config: the settings. The model's file is run.
        directory: of the run; made if it does not exist.
        overwrite: start again if there is a run already.
        report: called after every round of training.

    Raises:
        KeyboardInterrupt: if the fit was interrupted; the run is resumed by calling this again.
        ImportError: if an extra is not installed.
        FileExistsError: if the directory holds another run, or something else.
        FileNotFoundError, ValueError: if the model, the data or the settings are wrong.
    """
    directory = Path(directory)
    arviz()  # which writes the draws: better to learn now than after the fit that it is missing
    report(0, f"loading {config.model}")  # a Stan program takes 20 seconds to compile
    target = model_file.load(Path(config.model), Path(config.data) if config.data else None)
    asked = run.begun(config, target)
    run.KIND.check(directory, asked, overwrite=overwrite)
    if is_finished(directory) and not overwrite:
        report(0, "already finished")
        return run.load(directory)
    posterior = fit(
        target,
        settings=config.settings,
        seed=config.seed,
        report=report,
        directory=directory / "checkpoints",
        ready=lambda: run.KIND.prepare(directory, asked, overwrite=overwrite),
    )
    # The fit returns the best so far, which is not the result of this run: it is resumed.
    if posterior.record is not None and "interrupted" in posterior.record.stopped:
        raise KeyboardInterrupt
    run.finish(directory, posterior, posterior.diagnose(), config.draws)
    return run.load(directory)
