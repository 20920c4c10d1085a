"""The subcommands."""

from __future__ import annotations

import typer

import invflow
from invflow.cli import compare, posterior, sample, score
from invflow.cli.density import distill
from invflow.cli.density import train as density
from invflow.cli.vae import train as vae

app = typer.Typer(
    name="invflow",
    help="Normalizing flows built around the inverse autoregressive flow.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("vae")(vae.command)
app.command("density")(density.command)
app.command("distill")(distill.command)
app.command("compare")(compare.command)
app.command("posterior")(posterior.command)
app.command("sample")(sample.command)
app.command("score")(score.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"invflow {invflow.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None: ...
