"""A posterior as a run on disk."""

from __future__ import annotations

import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd

from invflow import _files
from invflow._version import __version__
from invflow.vi.posterior import Posterior
from invflow.vi.verdict import Verdict

DONE = "report.html"


def directory(runs: Path, name: str, settings: dict[str, Any], *, overwrite: bool) -> Path:
    """Return the directory of a run, made if it does not exist.

    Args:
        runs: where runs are kept.
        name: of the run.
        settings: what it is made from; a run of other settings is not continued.
        overwrite: whether to remove a run of that name first.

    Raises:
        ValueError: the name is a path; there is something else in the directory, or a run of other
            settings.
    """
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"--name must be the name of a directory, not a path, got {name!r}")
    path = runs / name
    config = path / "config.json"
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is no directory")
    if path.is_dir() and any(path.iterdir()) and not config.is_file():
        raise ValueError(f"{path} exists and is no run: choose another --name")
    if overwrite and path.is_dir():
        aside = path.with_name(f"{path.name}.old-{time.time_ns()}")
        path.rename(aside)
        shutil.rmtree(aside)
    text = json.dumps({"invflow": __version__, "posterior": settings}, indent=2) + "\n"
    begun = path.is_dir() and any(each != config for each in path.iterdir())
    if begun and config.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{path} is a run with other settings, model or data: choose another --name, or begin "
            "anew with --overwrite"
        )
    _files.write_text(config, text)
    return path


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
