"""The files of a posterior: draws, summary and verdict next to the flow."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from invflow import _files
from invflow.vi.posterior import Posterior
from invflow.vi.trust._arviz import storable
from invflow.vi.trust.verdict import Verdict

if TYPE_CHECKING:
    from pandas import DataFrame

#: What `write` writes and `read` reads, relative to the directory.
WRITTEN = (
    "model/config.json",
    "model/model.safetensors",
    "model/posterior.json",
    "draws.parquet",
    "summary.csv",
)


def write(posterior: Posterior, verdict: Verdict, path: Path, draws: int) -> None:
    """Write a posterior with resampled draws and its summary into a run, each file whole.

    `model/` is what `Posterior.load` reads; `draws.nc` is ArviZ's InferenceData, `draws.parquet`
    has a row per draw, `summary.csv` a row per number, and `verdict.txt` the verdict as text.

    Args:
        posterior: the posterior.
        verdict: what `posterior.diagnose` returned.
        path: directory of the run.
        draws: number of resampled draws.

    Raises:
        ImportError: if ArviZ, pandas or pyarrow is not installed.
    """
    posterior.save(path / "model")
    with _files.replacing(path / "draws.nc") as temporary:
        data = posterior.to_arviz(draws, log_likelihood=False)  # it can be larger than all else
        storable(data).to_netcdf(str(temporary), engine="h5netcdf")
    with _files.replacing(path / "draws.parquet") as temporary:
        posterior.to_pandas(draws).to_parquet(temporary)
    text = io.StringIO()
    posterior.summary().to_csv(text, index_label="parameter")
    _files.write_text(path / "summary.csv", text.getvalue())
    _files.write_text(path / "verdict.txt", f"{verdict}\n")


def read(path: Path) -> tuple[DataFrame, DataFrame]:
    """Return the summary and the draws that `write` has written.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged.
    """
    import pandas as pd

    try:
        summary = pd.read_csv(path / "summary.csv", index_col="parameter")
        return summary, pd.read_parquet(path / "draws.parquet")
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} has a damaged file: {reason}") from error
