"""What other programs cost a training, and what waiting threads cost it.

Threads of one operation wait for each other at its end, and for the next operation after it. They
can wait awake (they spin) or asleep. Awake is sooner where processors are free; where other
programs want them, a thread that spins takes the processor from the thread that it waits for.

One training like `invflow vae digits`, first of the diagonal posterior, then of the IAF, in a fresh
process for each way of waiting, with none and with three busy single-threaded programs beside it:

- default: what OpenMP does if nothing is set; GNU's spins 300,000 times, then sleeps;
- `GOMP_SPINCOUNT`: it spins less often;
- `OMP_WAIT_POLICY=passive`: it sleeps at once;
- one thread, which waits for nobody.

The ways take turns. "s" is seconds of training, a median over the rounds; in brackets stands the
median over the rounds of the ratio to "default". The variables are GNU's: PyTorch's wheels for
Linux bring its OpenMP library (libgomp) with them.

    python benchmarks/company.py [--steps 300] [--rounds 3] [--busy 0,3] [--threads N]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

POSTERIORS = "diagonal", "iaf"
#: The environment variables for each way of waiting.
WAYS: dict[str, dict[str, str]] = {
    "default": {},
    "10,000 spins": {"GOMP_SPINCOUNT": "10000"},
    "1,000 spins": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
VARIABLES = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
Seconds = dict[str, float]


def train(steps: int) -> Seconds:
    """Return the seconds of training for each posterior."""
    from invflow.vae import experiment
    from invflow.vae.config import Config

    config = Config(posteriors=POSTERIORS, steps=steps, importance_samples=2)
    with tempfile.TemporaryDirectory() as folder:
        run = experiment.train(config, Path(folder) / "run")
    assert run is not None  # one process alone
    return {name: result.seconds for name, result in run.results.items()}


def trained(steps: int, threads: int, way: dict[str, str]) -> Seconds:
    """Return the same for a new process with a way of waiting."""
    rest = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    found = subprocess.run(
        [sys.executable, __file__, "--once", "--steps", str(steps)],
        env={**rest, "OMP_NUM_THREADS": str(threads), **way},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return json.loads(found.stdout.splitlines()[-1])


@contextlib.contextmanager
def company(count: int) -> Iterator[None]:
    """Keep busy programs running."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def rows(busy: int, rounds: list[dict[str, Seconds]]) -> list[list[str]]:
    """Return a line of the table for each posterior."""
    lines: list[list[str]] = []
    for name in POSTERIORS:
        cells: list[str] = []
        for way in WAYS:
            seconds = statistics.median(each[way][name] for each in rounds)
            ratio = statistics.median(each[way][name] / each["default"][name] for each in rounds)
            cells.append(f"{seconds:.3g} [{ratio:.2f}]")
        lines.append([str(busy), name, *cells])
    return lines


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300, help="training steps (default: 300)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    parser.add_argument("--busy", default="0,3", help="numbers of busy programs (default: 0,3)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.once:
        print(json.dumps(train(options.steps)))
        return
    lines: list[list[str]] = []
    for busy in map(int, options.busy.split(",")):
        rounds: list[dict[str, Seconds]] = []
        with company(busy):
            for _ in range(options.rounds):
                found: dict[str, Seconds] = {}
                for way, variables in WAYS.items():
                    found[way] = trained(options.steps, options.threads, variables)
                    print(f"beside {busy}, {way}: {found[way]}", file=sys.stderr)
                rounds.append(found)
        lines += rows(busy, rounds)

    from directions import environment, table

    about = {**environment(options.threads), "steps": str(options.steps)}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print("\n" + table(["busy", "posterior", *(f"{way}, s" for way in WAYS)], lines))


if __name__ == "__main__":
    main(sys.argv[1:])
