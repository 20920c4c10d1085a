"""The commands that train: their options are the settings of the run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from invflow import report
from invflow.cli import files, terminal
from invflow.cli.jobs import Job
from invflow.runs import options
from invflow.runs.directory import is_finished
from invflow.training.progress import progress

_RUNS = Annotated[Path, typer.Option("--runs", help="Directory of all runs.", metavar="DIR")]
_OVERWRITE = Annotated[
    bool, typer.Option("--overwrite", help="Start again if the run already exists.")
]


def command(jobs: Sequence[Job]) -> Callable[..., None]:
    """Return the command that trains a kind of run, for Typer.

    Args:
        jobs: the kinds of run that share the command; their data decide between them.
    """

    def train(
        invocation: typer.Context,
        name: str | None,
        runs: Path,
        overwrite: bool,
        preset: str | None = None,
        **values: Any,
    ) -> None:
        given = {k: v for k, v in values.items() if _is_given(invocation, k)}
        job = _job(jobs, given)
        config = options.configured(job.config, given, preset)
        default = job.part("run").name(config)
        directory = files.directory(runs, default if name is None else name)
        report.require()
        is_finished_already = is_finished(directory) and not overwrite
        page = import_module(job.page)
        try:
            with terminal.warnings(), progress("training", getattr(config, "steps", None)) as told:
                run = job.part("experiment").train(
                    config, directory, overwrite=overwrite, report=told
                )
            if run is None:  # another process writes the report
                return
            page.write(run)
        except KeyboardInterrupt as error:
            raise InterruptedError(
                "interrupted; the same command, without --overwrite, resumes the run"
            ) from error
        if is_finished_already:
            terminal.say(f"{directory} is already finished: it is reported again, not trained")
        title, head, rows, notes = page.brief(run)
        terminal.table(title, head, rows)
        for line in notes:
            terminal.say(line)
        terminal.say(f"Report: {directory / 'report.html'}")

    arguments, settings = [], []
    for parameter in _parameters(jobs):
        is_argument = isinstance(parameter.annotation.__metadata__[0], type(typer.Argument()))
        (arguments if is_argument else settings).append(parameter)
    source = arguments[0].annotation.__metadata__[0].metavar
    info = typer.Option("--name", help="Name of the run.", show_default=f"from {source}")
    common = [_parameter("name", Annotated[str | None, info], None)]
    common += [_parameter("runs", _RUNS, Path("runs")), _parameter("overwrite", _OVERWRITE, False)]
    if presets := [name for job in jobs for name in job.config.presets]:
        names = ", ".join(presets)
        info = typer.Option("--preset", help=f"Start from the settings of a preset: {names}.")
        common.append(_parameter("preset", Annotated[str | None, info], None))
    common.append(_parameter("invocation", typer.Context, inspect.Parameter.empty))
    signature = inspect.Signature([*arguments, *common, *settings])
    train.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    train.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    train.__doc__ = "\n".join(import_module(job.actions).HELP for job in jobs)
    return train


def _job(jobs: Sequence[Job], given: Mapping[str, Any]) -> Job:
    """Return the kind of run that the data are for.

    Raises:
        ValueError: if an option of another kind is given.
    """
    first, *others = jobs
    claimed = (job for job in others if job.part("run").takes(given["data"]))
    job = next(claimed, first)
    known = {option.name for option in options.options(job.config)}
    for name in given:
        if name not in known:
            raise ValueError(
                f"--{name.replace('_', '-')} does not apply to {given['data']}: it is for "
                f"{' and '.join(other.reads for other in jobs if other is not job)}, "
                f"and these are {job.reads}"
            )
    return job


def _parameters(jobs: Sequence[Job]) -> Sequence[inspect.Parameter]:
    """Return the parameters of all settings, each once."""
    merged: dict[str, inspect.Parameter] = {}
    for job in jobs:
        for parameter in options.parameters(job.config):
            known = merged.get(parameter.name)
            merged[parameter.name] = (
                parameter if known is None else _both(known, parameter, job.reads)
            )
    return list(merged.values())


def _both(known: inspect.Parameter, other: inspect.Parameter, reads: str) -> inspect.Parameter:
    """Return a parameter of two kinds of run, whose help tells both defaults."""
    kind, info = known.annotation.__origin__, copy(known.annotation.__metadata__[0])
    (more,) = other.annotation.__metadata__
    if known.default is inspect.Parameter.empty:
        info.help = f"{info.help} {more.help}"
    elif known.default != other.default:
        first, second = (
            each.show_default if isinstance(each.show_default, str) else parameter.default
            for each, parameter in ((info, known), (more, other))
        )
        info.show_default = f"{first}; {second} for {reads}"
    return known.replace(annotation=Annotated[kind, info])


def _is_given(invocation: typer.Context, name: str) -> bool:
    source = invocation.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
