"""Every kind of run, and where each of its parts is: a new kind is one entry.

The parts are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from invflow.runs.directory import kind_of
from invflow.runs.settings import Config


class Job(NamedTuple):
    """What the command line does with a kind of run.

    Attributes:
        command: the name of the command that trains one.
        package: its modules `config`, `run` and `experiment` have the settings, the run on disk
            (`load`, `name`), and how it is trained (`train`).
        page: the package with its report: `write`, `brief` and `compare`.
        actions: the module with the help of the command, examples, and what
            else applies to the run: `sample`, `score`, `classify`.
        reads: what it reads, where several kinds share a command: the first of them takes what no
            `takes` of the other packages' modules `run` claims.
    """

    command: str
    package: str
    page: str
    actions: str
    reads: str = ""

    @property
    def config(self) -> type[Config]:
        return import_module(f"{self.package}.config").Config

    def part(self, name: str) -> Any:
        """Return a module of the package."""
        return import_module(f"{self.package}.{name}")


#: By the kind in `config.json`.
JOBS: Mapping[str, Job] = {
    "posterior-run": Job(
        "posterior", "invflow.vi", "invflow.report.posterior", "invflow.cli.posterior"
    ),
    "vae-run": Job("vae", "invflow.vae", "invflow.report.vae", "invflow.cli.vae"),
    "density-run": Job(
        "density", "invflow.density", "invflow.report.density", "invflow.cli.density", "tables"
    ),
    "image-density-run": Job(
        "density", "invflow.images", "invflow.report.images", "invflow.cli.images", "images"
    ),
    "inference-run": Job(
        "infer", "invflow.simulation", "invflow.report.inference", "invflow.cli.infer"
    ),
    "student-run": Job(
        "distill", "invflow.distillation", "invflow.report.student", "invflow.cli.distill"
    ),
}


def of(directory: Path) -> Job:
    """Return what there is to do with a run.

    Raises:
        FileNotFoundError: if there is no such directory.
        ValueError: if it does not hold a run.
    """
    kind = kind_of(directory)
    if kind not in JOBS:
        raise ValueError(f"{directory} holds a {kind!r}, not a run")
    return JOBS[kind]
