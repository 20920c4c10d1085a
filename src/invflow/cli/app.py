"""The subcommands."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import typer

import invflow
from invflow.cli import classify, compare, doctor, overview, sample, score, streams, train
from invflow.cli.jobs import JOBS

app = typer.Typer(
    name="invflow",
    help="Normalizing flows built around the inverse autoregressive flow.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def _examples(lines: Sequence[str]) -> str:
    """Return the end of a command's help."""
    return "Examples:\n\n" + "\n\n".join(f"$ invflow {line}" for line in lines)


for name in dict.fromkeys(job.command for job in JOBS.values()):
    jobs = [job for job in JOBS.values() if job.command == name]
    examples = [line for job in jobs for line in import_module(job.actions).EXAMPLES]
    app.command(name, epilog=_examples(examples))(train.command(jobs))
for name, module in (
    ("sample", sample),
    ("score", score),
    ("classify", classify),
    ("compare", compare),
    ("doctor", doctor),
):
    app.command(name, epilog=_examples(module.EXAMPLES))(module.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"invflow {invflow.__version__}")
        streams.check_shown()
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    invocation: typer.Context,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    if invocation.invoked_subcommand is None:
        overview.show()
