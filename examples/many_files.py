"""Score many Parquet files on many machines, with Ray Data or Dask as the engine.

Either reads the files, sends blocks of rows to workers, and writes the rows with two more columns,
as `invflow score` does for one file. Each worker loads the density once.

    python examples/many_files.py RUN FOLDER --out SCORED [--engine ray|dask]

RUN is the directory of a run of `invflow density`, FOLDER has Parquet files like its table. Needs
`pip install "ray[data]"` or `pip install "dask[dataframe]"`. A cluster is joined as these say, such
as by `ray.init(address="auto")` or `dask.distributed.Client(address)` at the top of `main`.
"""

from __future__ import annotations

import argparse
import os
from functools import cache
from pathlib import Path

import pandas as pd

from invflow.density import FlowDensity
from invflow.density.checks.calibration import anomaly

#: Rows that a worker of Ray scores together.
ROWS = 2**16


class Scorer:
    """Adds scores to rows.

    Args:
        run: directory of a run of `invflow density`.
    """

    def __init__(self, run: str) -> None:
        self.density = FlowDensity.load(Path(run) / "model")

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return rows with their log density in nats, and how usual they are."""
        known = [name for name in rows.columns if name in self.density.columns_.names]
        scores = self.density.score_samples(rows[known])
        return rows.assign(log_density=scores, p_value=anomaly(scores, self.density.reference_))


def with_ray(run: str, folder: str, out: str, workers: int) -> None:
    """Score with `map_batches`."""
    import ray.data

    rows = ray.data.read_parquet(folder)
    scored = rows.map_batches(
        Scorer,
        fn_constructor_args=[run],
        batch_format="pandas",
        batch_size=ROWS,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
    )
    scored.write_parquet(out)


@cache
def scorer(run: str) -> Scorer:
    """Return the scorer of a run, which a process loads once."""
    return Scorer(run)


def score(rows: pd.DataFrame, run: str) -> pd.DataFrame:
    """Return rows with scores."""
    return scorer(run)(rows)


def with_dask(run: str, folder: str, out: str, workers: int) -> None:
    """Score with `map_partitions`."""
    import dask.dataframe

    rows = dask.dataframe.read_parquet(folder)
    meta = rows._meta.assign(log_density=0.0, p_value=0.0)
    scored = rows.map_partitions(score, run, meta=meta)
    scored.to_parquet(out, compute_kwargs={"scheduler": "processes", "num_workers": workers})


def main() -> None:
    """Score the files in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("folder")
    parser.add_argument("--out", required=True)
    parser.add_argument("--engine", choices=["ray", "dask"], default="ray")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    engine = with_ray if arguments.engine == "ray" else with_dask
    run, folder, out = (
        str(Path(p).resolve()) for p in (arguments.run, arguments.folder, arguments.out)
    )
    engine(run, folder, out, arguments.workers)
    print(f"scored rows: {out}")


if __name__ == "__main__":
    main()
