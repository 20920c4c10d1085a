"""How often the regions of learned posteriors contain the parameters.

Each task of `simulators/tasks.py` is learned by `invflow.simulation` at its defaults. Other
simulations judge it: the fractions whose parameters lie in the highest-density regions of 50 % and
90 %, and the mean log density of the parameters, in nats, once as fitted and once without the
widening of the noise (`simulation/widened.py`). `error` is the binomial standard error of 90 %.

    python benchmarks/simulation_coverage.py [--tasks ...] [--number 1000] [--seed 0]

prints a line of a Markdown table for each. `seconds` are processor seconds of training on one
thread. Needs pip install "invflow[simulation]".
"""

from __future__ import annotations

import argparse
import time
from typing import cast

import torch
from simulators.tasks import TASKS

from invflow import simulation
from invflow.flows import Tempered

#: Number of simulations that judge, and of draws of the posterior of each.
JUDGES, DRAWS = 500, 100


def measure(name: str, number: int, seed: int) -> None:
    """Learn a task, and print its lines."""
    task = TASKS[name]()
    prior = simulation.Prior({"theta": task.prior})
    others = simulation.Simulations(*task.simulations(JUDGES, 2_000_000 + seed))
    start = time.process_time()
    found = simulation.fit(
        simulation.Simulations(*task.simulations(number, seed)), prior, seed=seed
    )
    seconds = time.process_time() - start
    assert isinstance(found, simulation.NPE)
    print_line(name, f"{found.learned.scale:.2f}", seconds, found.assess(others, draws=DRAWS))
    for each in found.learned.networks:
        each.flow.base = cast(Tempered, each.flow.base).base
    print_line(name, "1", seconds, found.assess(others, draws=DRAWS))


def print_line(name: str, scale: str, seconds: float, found: simulation.Assessment) -> None:
    """Print what simulations say about a posterior."""
    shown = (
        f"{found.coverage[0.5]:.3f} | {found.coverage[0.9]:.3f} | {found.coverage_error[0.9]:.3f}"
    )
    print(f"| {name} | {scale} | {shown} | {found.log_prob:.2f} | {seconds:.0f} |", flush=True)


def main() -> None:
    """Measure the tasks one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | scale | 50 % | 90 % | error | log density | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in options.tasks:
        measure(name, options.number, options.seed)


if __name__ == "__main__":
    main()
