"""Tables: invflow's `FlowDensity` beside what people use, in four jobs, everything at its default.

- synthetic: rows drawn, beside SDV's Gaussian copula, CTGAN and TVAE; and training rows themselves
  as a reference, which are copies. `c2st` is the area under the curve of a random forest that
  tells held-out rows from drawn ones, over five folds (0.5: it cannot); `prediction` that of a
  random forest trained on drawn rows and tested on real ones, or R2 for a number; `distance` the
  median distance to the nearest training row, divided by that of held-out rows (1 is right, 0
  copies).
- mcar: a fifth of the values, missing completely at random, filled in; beside scikit-learn's
  IterativeImputer and KNNImputer, MissForest (Stekhoven and Buehlmann 2012; here, of scikit-learn's
  forests) and the mean or mode. invflow fills by the mean given the row's other values, or the most
  probable category. `rmse` and `mae` are the errors of numbers in standard deviations, `errors` the
  fraction of categories that are wrong.
- mnar: the same, with a chance to be missing that grows with the value.
- anomalies: beside a Gaussian with a full covariance, and PyOD's isolation forest, LOF, kNN and
  ECOD, by `auc`. A twentieth of the training rows are anomalies, unlabelled
  (`tabular/anomalies.py` says which).

The tables are in `tabular/data.py`. Each seed has its own split into two thirds, to learn from or
to fill, and a third to test on. Tools that take only numbers get categories as zeros and ones,
IterativeImputer without those of the first category.

    python benchmarks/tables.py run --data FOLDER [--jobs ...] [--tables ...] [--tools ...]
        [--seeds 0 1 2] [--limit SECONDS]
    python benchmarks/tables.py table

FOLDER has the folders `wild` and `tabular`. `run` makes a new process for each job, table, tool and
seed, on one thread, whose processor time `seconds` counts, and adds its line to
`results/tables/JOB.csv`; it can be stopped at any time, and leaves out what is there, failures too
(delete their lines to try again). `table` prints means over seeds ± standard deviations, and the
mean rank among tools over tables. Needs
pip install "invflow[density]" "sdv>=2" pyod.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lines
import numpy as np
import workers
from tabular import anomalies, imputation, synthetic
from tabular.data import MIXED, NUMERIC

RESULTS = Path(__file__).parent / "results" / "tables"
JOBS: dict[str, Any] = {
    "synthetic": synthetic.measure,
    "mcar": imputation.measure_at_random,
    "mnar": imputation.measure_not_at_random,
    "anomalies": anomalies.measure,
}
MODULES: dict[str, Any] = {
    "synthetic": synthetic,
    "mcar": imputation,
    "mnar": imputation,
    "anomalies": anomalies,
}
TABLES = dict.fromkeys(JOBS, (*MIXED, *NUMERIC)) | {"anomalies": anomalies.TABLES}
#: How bad the value of a measure is. An area below one half is not better than one half: left-out
#: rows look like the other sample where rows are few, because their own has lost them.
BADNESS: dict[str, Callable[[float], float]] = {
    "c2st": lambda area: max(area, 0.5),
    "prediction": lambda score: -score,
    "distance": lambda ratio: abs(ratio - 1),
    "rmse": lambda error: error,
    "mae": lambda error: error,
    "errors": lambda fraction: fraction,
    "auc": lambda area: -area,
    "seconds": lambda seconds: seconds,
}
#: Not ranked: references, and other ways to use the same fit.
UNRANKED = ("training rows", "invflow, one draw")
LABELS = ("table", "tool", "seed")
Line = dict[str, Any]


def run(options: argparse.Namespace) -> None:
    """Measure what is missing, each in a process of its own, and keep the lines."""
    for seed in options.seeds:
        for job in options.jobs:
            done = lines.done(file_of(job), LABELS)
            for table in TABLES[job]:
                for tool in MODULES[job].TOOLS:
                    wanted = table in (options.tables or [table])
                    wanted &= tool in (options.tools or [tool])
                    if wanted and (table, tool, str(seed)) not in done:
                        found = measured(job, table, tool, seed, options.data, options.limit)
                        lines.add(file_of(job), fields(job), found)


def measured(job: str, table: str, tool: str, seed: int, folder: Path, limit: float) -> list[Line]:
    """Run a worker, and return its lines."""
    arguments = ["worker", job, table, tool, str(seed), str(folder)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    found, last = workers.results(__file__, arguments, one_thread, limit)
    labels = {"table": table, "tool": tool, "seed": seed}
    return found or [{**labels, "note": f"failed: {last}"}]


def worker(job: str, table: str, tool: str, seed: int, folder: Path) -> None:
    """Measure a tool, and print a line for each way that it is used."""
    warnings.simplefilter("ignore")
    for name, values in JOBS[job](table, tool, seed, folder).items():
        workers.say({"table": table, "tool": name, "seed": seed, **values})


def fields(job: str) -> tuple[str, ...]:
    """Return the columns of the file of a job."""
    return (*LABELS, *MODULES[job].MEASURES, "seconds", "note")


def file_of(job: str) -> Path:
    """Return the file of the lines of a job."""
    return RESULTS / f"{job}.csv"


def table(job: str, measure: str) -> str:
    """Return a Markdown table: a row for each tool, a column for each table."""
    kept = [line for line in lines.read(file_of(job)) if not _nan(line[measure])]
    tables = [name for name in TABLES[job] if any(line["table"] == name for line in kept)]
    order = list(MODULES[job].TOOLS)
    found = dict.fromkeys(line["tool"] for line in kept)
    tools = sorted(found, key=lambda tool: order.index(tool.partition(",")[0]))
    cells = {
        (tool, name): [
            float(line[measure]) for line in kept if (line["tool"], line["table"]) == (tool, name)
        ]
        for tool in tools
        for name in tables
    }
    places = ranks({key: np.mean(each) for key, each in cells.items() if each}, measure)
    text = [f"| {job}, {measure} | {' | '.join(tables)} | rank |"]
    text.append("| --- |" + " --- |" * (len(tables) + 1))
    for tool in tools:
        shown = [_cell(cells[tool, name]) for name in tables]
        rank = f"{places[tool]:.1f}" if tool in places else ""
        text.append(f"| {tool} | {' | '.join(shown)} | {rank} |")
    return "\n".join(text)


def ranks(values: dict[tuple[str, str], Any], measure: str) -> dict[str, float]:
    """Return the mean rank of each tool over tables, 1 for the best."""
    tools = [tool for tool in dict.fromkeys(tool for tool, _ in values) if tool not in UNRANKED]
    found: dict[str, list[int]] = {tool: [] for tool in tools}
    for name in dict.fromkeys(name for _, name in values):
        bad = {
            tool: BADNESS[measure](float(values[tool, name]))
            for tool in tools
            if (tool, name) in values
        }
        for tool, own in bad.items():
            found[tool].append(1 + sum(other < own for other in bad.values()))
    return {tool: statistics.mean(each) for tool, each in found.items() if each}


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3g}{spread}"


def _nan(text: str) -> bool:
    return text in ("", "nan")


def main(arguments: list[str]) -> None:
    """Run one of the commands."""
    if arguments[:1] == ["worker"]:
        job, name, tool, seed, folder = arguments[1:]
        worker(job, name, tool, int(seed), Path(folder))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--tables", nargs="+")
    parser.add_argument("--tools", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--limit", type=float, default=1800.0)
    options = parser.parse_args(arguments)
    if options.command == "run":
        run(options)
        return
    for job in filter(lambda job: lines.read(file_of(job)), options.jobs):
        for measure in (*MODULES[job].MEASURES, "seconds"):
            print(f"\n{table(job, measure)}")


if __name__ == "__main__":
    main(sys.argv[1:])
