"""The peak memory of whole jobs, each in a process of its own.

- bound: 20 steps on diamonds of `vi.fit` and of NumPyro's AutoIAFNormal (`elbo.py`);
- vae: 20 training steps of `vae_peers.py`, batches of 128;
- density: 20 updates on 20,000 rows of 63 numbers, at the sizes and batches that `density.py` takes
  for image patches.

Peak is the largest resident set of the process (`getrusage`), libraries and code included; "above"
is what the job adds to the peak after its imports. What is compiled, and the compiler, counts as
part of the job.

    python benchmarks/memory.py [--data FOLDER] [--quick] [--only NAME] [--threads N]

Without a folder of posteriordb posteriors "bound" is left out, and so is what is not installed.
`--quick` takes two steps of each.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import os
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

# Libraries are imported in the jobs: a process starts with the peak of the one that starts it.
POSTERIOR = "diamonds-diamonds"
Job = Callable[[], object]


def _vi_fit(folder: Path, steps: int) -> Job:
    import elbo
    import posteriordb

    from invflow import vi

    target, _, _ = posteriordb.load(POSTERIOR, folder)
    return lambda: vi.fit(elbo.Stopped(target, steps))


def _numpyro(folder: Path, steps: int) -> Job:
    import numpyro_iaf

    density = numpyro_iaf.load(POSTERIOR, folder)
    return lambda: numpyro_iaf.Guide(density, rate=1e-3, draws=64, steps=steps, seed=0).advance()


def _vae(library: str, steps: int) -> Job:
    import vae_peers

    def job() -> None:
        trainee = vae_peers.Trainee(library, batch=128)
        for _ in range(steps):
            trainee.step()

    return job


def _density(model: str, steps: int) -> Job:
    import torch

    import density

    def job() -> None:
        rows = torch.randn(20_000, 63)
        data = density.Data("noise", rows, rows[:1], rows[:1], 0.0, density.PATCHES)
        trainee = density.Trainee(data, model, seed=0)
        for _ in range(steps):
            trainee.update()

    return job


#: By job and library: what takes the folder and a number of steps, and returns the job.
JOBS: dict[tuple[str, str], Callable[[Path, int], Job]] = {
    ("bound", "invflow"): _vi_fit,
    ("bound", "numpyro"): _numpyro,
    ("vae", "invflow"): lambda _, steps: _vae("invflow", steps),
    ("vae", "zuko"): lambda _, steps: _vae("zuko", steps),
    ("density, maf", "invflow"): lambda _, steps: _density("invflow-maf", steps),
    ("density, maf", "zuko"): lambda _, steps: _density("zuko-maf", steps),
    ("density, maf", "nflows"): lambda _, steps: _density("nflows-maf", steps),
    ("density, nsf", "invflow"): lambda _, steps: _density("invflow-nsf", steps),
    ("density, nsf", "zuko"): lambda _, steps: _density("zuko-nsf", steps),
}


def peak() -> float:
    """Return the largest resident set so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(job: str, library: str, folder: Path, steps: int, threads: int) -> tuple[float, float]:
    """Return the peak before and after a job, in MB."""
    if hasattr(os, "sched_setaffinity"):  # all take as many threads as they see processors
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    importlib.import_module(library)
    run = JOBS[job, library](folder, steps)
    before = peak()
    run()
    return before, peak()


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of posteriordb posteriors")
    parser.add_argument("--quick", action="store_true", help="two steps of each")
    parser.add_argument("--only", default="", help="jobs and libraries whose names contain this")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    rows: list[list[str]] = []
    spawn = multiprocessing.get_context("spawn")
    steps = 2 if options.quick else 20
    for job, library in JOBS:
        there = options.data is not None or job != "bound"
        if not (there and options.only in f"{job} {library}" and _installed(library)):
            continue
        print(f"measuring {job}, {library} ...", file=sys.stderr)
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            found = pool.submit(measure, job, library, options.data, steps, options.threads)
            before, after = found.result()
        rows.append([job, library, f"{after:.0f}", f"{before:.0f}", f"{after - before:.0f}"])

    from directions import environment, table

    print(", ".join(f"{key} {value}" for key, value in environment(options.threads).items()))
    print("\n" + table(["job", "library", "peak, MB", "imports, MB", "above, MB"], rows))


if __name__ == "__main__":
    main(sys.argv[1:])
