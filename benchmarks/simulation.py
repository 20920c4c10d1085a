"""Posteriors from simulators: invflow's flows inside sbi, and by themselves, beside sbi's own.

The tasks are those of the SBI benchmark (Lueckmann et al. 2021), rebuilt in `simulators/tasks.py`.
Each tool learns from the same simulations, everything at its default (invflow's flows in sbi have
the sizes of sbi's: five transforms with hidden layers of 50), and draws from the posteriors of the
same five observations. `c2st` is the accuracy of a classifier that tells its draws from those of a
reference (0.5: it cannot; `simulators/c2st.py`); `training` the seconds of training; `drawing`
those of 100,000 draws.

    python benchmarks/simulation.py run [--tasks ...] [--tools ...] [--numbers 1000] [--seeds 0]
        [--limit SECONDS]
    python benchmarks/simulation.py table

`run` makes a new process for each task, number of simulations, tool and seed, on one thread, whose
processor time all seconds count, and adds a line for each observation to
`results/simulation/posteriors.csv`; it can be stopped at any time, and leaves out what is there,
failures too (delete their lines to try again). Reference draws are made from seeds when they are
first needed: exact ones, or tempered (`simulators/references.py`). `table` prints means over
observations and seeds ± standard deviations. Needs pip install "invflow[sbi,simulation]".
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lines
import torch
import workers
from simulators import references
from simulators.c2st import c2st
from simulators.tasks import TASKS
from simulators.tools import TOOLS

from invflow._random import seeded

RESULTS = Path(__file__).parent / "results" / "simulation" / "posteriors.csv"
LABELS = ("task", "number", "tool", "seed")
MEASURES = ("c2st", "training", "drawing")
FIELDS = (*LABELS, "observation", *MEASURES, "note")
OBSERVATIONS = 5
#: Numbers of draws: compared, timed.
COMPARED, TIMED = 1000, 100_000
Line = dict[str, Any]


def run(options: argparse.Namespace) -> None:
    """Measure what is missing, each in a process of its own, and keep the lines."""
    done = lines.done(RESULTS, LABELS)
    for seed in options.seeds:
        for number in options.numbers:
            for task in options.tasks:
                for tool in options.tools:
                    labels = (task, str(number), tool, str(seed))
                    if labels not in done:
                        lines.add(RESULTS, FIELDS, measured(labels, options.limit))


def measured(labels: tuple[str, ...], limit: float) -> list[Line]:
    """Run a worker, and return its lines."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    script = str(Path(__file__).resolve())
    found, last = workers.results(script, ["worker", *labels], one_thread, limit)
    named = dict(zip(LABELS, labels, strict=True))
    return [{**named, **line} for line in found] or [{**named, "note": f"failed: {last}"}]


def worker(name: str, number: int, tool: str, seed: int) -> None:
    """Train a tool, and print a line for each observation."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    task = TASKS[name]()
    theta, x = task.simulations(number, seed)
    # sbi writes logs where it runs.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), seeded(seed):
        start = time.process_time()
        with contextlib.redirect_stdout(sys.stderr):  # sbi's remarks do not end their lines
            draw = TOOLS[tool](task, theta, x)
        training = time.process_time() - start
        for index in range(OBSERVATIONS):
            observed = task.observation(index)
            start = time.process_time()
            drawn = draw(TIMED, observed)
            drawing = time.process_time() - start
            reference = references.stored(task, index, COMPARED)
            score = c2st(drawn[:COMPARED], reference)
            measures = {"c2st": score, "training": training, "drawing": drawing}
            workers.say({"observation": index, **measures})


def table(number: str, measure: str) -> str:
    """Return a Markdown table: a row for each tool, a column for each task."""
    kept = [e for e in lines.read(RESULTS) if e["number"] == number and e[measure]]
    tasks = [name for name in TASKS if any(line["task"] == name for line in kept)]
    text = [f"| {measure}, {int(number):,} simulations | {' | '.join(tasks)} |"]
    text.append("| --- |" + " --- |" * len(tasks))
    for tool in TOOLS:
        cells = [
            _cell([float(e[measure]) for e in kept if (e["tool"], e["task"]) == (tool, task)])
            for task in tasks
        ]
        if any(cells):
            text.append(f"| {tool} | {' | '.join(cells)} |")
    return "\n".join(text)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.2g}" if len(set(values)) > 1 else ""
    return f"{statistics.mean(values):.3g}{spread}"


def main(arguments: list[str]) -> None:
    """Run one of the commands."""
    if arguments[:1] == ["worker"]:
        name, number, tool, seed = arguments[1:]
        worker(name, int(number), tool, int(seed))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--numbers", nargs="+", type=int, default=[1000, 10_000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--limit", type=float, default=3600.0)
    options = parser.parse_args(arguments)
    if options.command == "run":
        run(options)
        return
    for number in dict.fromkeys(line["number"] for line in lines.read(RESULTS)):
        for measure in MEASURES:
            print(f"\n{table(number, measure)}")


if __name__ == "__main__":
    main(sys.argv[1:])
