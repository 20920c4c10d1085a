"""The files of a posterior: draws, summary and verdict beside the flow."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

try:
    import pandas as pd
except ImportError as error:
    raise ImportError('the files of a posterior need pandas: pip install "invflow[vi]"') from error

from invflow import _files
from invflow.vi.posterior import Posterior
from invflow.vi.trust.verdict import Verdict

#: What `write` writes, relative to the directory, and `read` reads.
WRITTEN = (
    "model/config.json",
    "model/model.safetensors",
    "model/posterior.json",
    "draws.parquet",
    "summary.csv",
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


def read(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the summary and the draws that `write` has written.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if one is damaged.
    """
    try:
        summary = pd.read_csv(path / "summary.csv", index_col="parameter")
        return summary, pd.read_parquet(path / "draws.parquet")
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} has a damaged file: {str(error).splitlines()[0]}") from error
