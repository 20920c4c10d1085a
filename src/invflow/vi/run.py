"""A posterior as a run on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from pydantic import BaseModel, ConfigDict
except ImportError as error:
    raise ImportError('the run of a posterior needs pydantic: pip install "invflow[vi]"') from error

from invflow.runs import directory as runs_directory
from invflow.vi.posterior import Posterior
from invflow.vi.trust.verdict import Verdict

if TYPE_CHECKING:
    from pandas import DataFrame

MODEL = "posterior-run"
KIND = "posterior run"


class Settings(BaseModel):
    """What a posterior is of, and how it is found.

    Attributes:
        model: the path of the file that defines it.
        data: the path of its data, if there are any.
        sha256: of these files.
        seed: of everything random.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    data: str | None
    sha256: list[str]
    seed: int


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: where it is.
        config: its settings.
        posterior: what was fitted.
        verdict: whether to trust it.
        summary: a row for each parameter.
        draws: a row for each draw.
    """

    directory: Path
    config: Settings
    posterior: Posterior
    verdict: Verdict
    summary: DataFrame
    draws: DataFrame


def settings(model: Path, data: Path | None, seed: int) -> Settings:
    """Return the settings of a run."""
    files = [path for path in (model, data) if path is not None]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return Settings(
        model=str(model), data=None if data is None else str(data), sha256=digests, seed=seed
    )


def check(directory: Path, settings: Settings, *, overwrite: bool) -> None:
    """See that `prepare` may be called, and change nothing.

    Raises:
        FileExistsError: it may not.
    """
    runs_directory.check(
        directory,
        lambda: _difference(_settings(directory), settings),
        kind=KIND,
        overwrite=overwrite,
        reads=_reads(settings),
    )


def prepare(directory: Path, settings: Settings, *, overwrite: bool) -> None:
    """Make the directory of a run, or see that it holds the same run, to go on with.

    Raises:
        FileExistsError: it holds another run, or something else.
    """
    runs_directory.prepare(
        directory,
        MODEL,
        {"settings": settings.model_dump(mode="json")},
        lambda: _difference(_settings(directory), settings),
        kind=KIND,
        overwrite=overwrite,
        reads=_reads(settings),
    )


def _reads(settings: Settings) -> list[str]:
    return [path for path in (settings.model, settings.data) if path is not None]


def _difference(there: Settings, asked: Settings) -> str:
    if there.sha256 != asked.sha256:
        return "another model or other data"
    return "" if there.seed == asked.seed else f"seed {there.seed}, not {asked.seed}"


def _settings(directory: Path) -> Settings:
    return runs_directory.settings(
        directory, MODEL, KIND, lambda content: Settings(**content["settings"])
    )
