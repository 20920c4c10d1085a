"""A posterior as a run on disk."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

try:
    import pandas as pd
    from pydantic import BaseModel, ConfigDict
except ImportError as error:
    raise ImportError(
        'the run of a posterior needs pandas and pydantic: pip install "invflow[vi]"'
    ) from error

from invflow import _files
from invflow.runs import directory as runs_directory
from invflow.vi.posterior import Posterior
from invflow.vi.trust.verdict import Verdict

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


def write(posterior: Posterior, verdict: Verdict, path: Path, draws: int) -> Any:
    """Write the posterior, its draws and its summary into a run, each file whole.

    `model/` has what `Posterior.load` takes; `draws.nc` is ArviZ's InferenceData, `draws.parquet`
    has a row for each draw, `summary.csv` one for each parameter, `verdict.txt` the verdict.

    Returns:
        The InferenceData.
    """
    posterior.save(path / "model")
    inference = posterior.to_arviz(draws)
    with _files.replacing(path / "draws.nc") as temporary:
        inference.to_netcdf(str(temporary), engine="h5netcdf")
    frame = table(posterior, draws)
    with _files.replacing(path / "draws.parquet") as temporary:
        frame.to_parquet(temporary)
    text = io.StringIO()
    posterior.summary().to_csv(text, index_label="parameter")
    _files.write_text(path / "summary.csv", text.getvalue())
    _files.write_text(path / "verdict.txt", f"{verdict}\n")
    return inference


def table(posterior: Posterior, draws: int) -> pd.DataFrame:
    """Return resampled draws, a row each, with a column for every number."""
    columns: dict[str, Any] = {}
    for name, value in posterior.draws(draws).items():
        flat = value.reshape(len(value), -1)
        shape = value.shape[1:]
        for i, column in enumerate(flat.unbind(1)):
            place = ", ".join(str(int(k)) for k in _place(i, shape))
            columns[f"{name}[{place}]" if shape else name] = column.numpy()
    return pd.DataFrame(columns)


def _place(i: int, shape: Any) -> list[int]:
    place: list[int] = []
    for size in reversed(shape):
        i, k = divmod(i, size)
        place.insert(0, k)
    return place
