"""CPU time and memory of a large table: reading, survey, training, scoring, `invflow score`.

The table has correlated normal columns of float32, in a Parquet file with 10 row groups. The
density that scores is learned from the first 1,000 rows, but with the ensemble and the width that
are the defaults for all rows. Each job runs in its own process, on the table and on its first 1,000
rows; "peak" is the difference of the two largest resident sets (`getrusage`), so that libraries do
not count, in multiples of the table in memory ("tables"). "bare" is `log_prob` of the trained flow
alone on a tensor of the same rows.

    python benchmarks/large_tables.py [--rows N] [--columns D] [--flow NAME]
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

from workers import results, say

JOBS = ("read", "survey", "train", "score", "bare", "invflow score")
FEW, GROUPS = 1000, 10
#: Updates of a training; rows scored at once.
STEPS, BATCH = 20, 8192
LIMIT = 3600.0


def make(path: Path, rows: int, columns: int) -> None:
    """Write the table, a row group after the other."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(0)
    mix = random.normal(size=(columns, columns)) / np.sqrt(columns)
    names = [f"x{i}" for i in range(columns)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    with parquet.ParquetWriter(path, schema) as file:
        for _ in range(GROUPS):
            values = (random.normal(size=(rows // GROUPS, columns)) @ mix).astype(np.float32)
            file.write_table(pa.table(dict(zip(names, values.T, strict=True)), schema))


def train(path: Path, flow: str, rows: int, run: Path) -> None:
    """Write a run of `invflow density`, whose density the other jobs score with.

    The table that they score has this number of rows.
    """
    from invflow.density import experiment
    from invflow.density.config import Config
    from invflow.density.learning.defaults import defaults

    found = defaults(flow, rows)
    config = Config(
        data=str(path),
        flow=flow,
        steps=STEPS,
        ensemble=found.ensemble,
        hidden_features=found.hidden_features,
    )
    experiment.train(config, run)


def job(name: str, path: Path, flow: str, run: Path) -> float:
    """Do a job, and return the seconds that it took, without imports."""
    import numpy as np
    import torch

    from invflow.cli.app import app
    from invflow.density import FlowDensity
    from invflow.density.table import read, survey

    torch.set_num_threads(1)
    if name == "invflow score":
        start = time.process_time()
        out = str(path.with_name("scores.parquet"))
        app(["score", str(run), str(path), "--out", out], standalone_mode=False)
        return time.process_time() - start
    start = time.process_time()
    table = read(path)
    if name == "read":
        return time.process_time() - start
    density = FlowDensity.load(run / "model")
    start = time.process_time()
    match name:
        case "survey":
            survey(table)
        case "train":
            FlowDensity(flow, steps=STEPS, random_state=0).fit(table)
        case "score":
            density.score_samples(table)
        case _:
            x = torch.from_numpy(table.block(0).to_numpy(dtype=np.float32))
            flow_alone = density.model_.flow
            start = time.process_time()
            with torch.no_grad():
                for part in x.split(BATCH):
                    flow_alone().log_prob(part)
    return time.process_time() - start


def worker(arguments: argparse.Namespace) -> None:
    """Do one job and print its figures, or prepare for others."""
    name, path, run = arguments.job
    warnings.simplefilter("ignore")
    seconds = 0.0
    if name == "prepare":
        make(Path(path), FEW, arguments.columns)
        train(Path(path), arguments.flow, arguments.rows, Path(run))
    elif name == "make":
        make(Path(path), arguments.rows, arguments.columns)
    else:
        seconds = job(name, Path(path), arguments.flow, Path(run))
    say({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})


def main() -> None:
    """Measure every job, or do one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--flow", default="maf")
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        return worker(arguments)
    size = 4 * arguments.rows * arguments.columns
    sizes = ["--rows", str(arguments.rows), "--columns", str(arguments.columns)]
    with tempfile.TemporaryDirectory() as place:
        few, many, run = Path(place, "few.parquet"), Path(place, "many.parquet"), Path(place, "run")

        def done(name: str, path: Path) -> dict[str, float]:
            options = [*sizes, "--flow", arguments.flow, "--job", name, str(path), str(run)]
            # A process begins with the peak of the one that starts it: this one imports little.
            environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": ":".join(sys.path)}
            rows, error = results(__file__, options, environment, LIMIT)
            if not rows:
                raise SystemExit(f"{name}: {error}")
            return rows[0]

        done("prepare", few)
        done("make", many)
        print("| job | CPU seconds | rows per second | peak, MB | tables |")
        print("| --- | --- | --- | --- | --- |")
        for name in JOBS:
            least, most = done(name, few), done(name, many)
            seconds, peak = most["seconds"], most["peak"] - least["peak"]
            speed = f"{arguments.rows / seconds:,.0f}"
            print(f"| {name} | {seconds:.1f} | {speed} | {peak / 1e6:.0f} | {peak / size:.1f} |")
    return None


if __name__ == "__main__":
    main()
