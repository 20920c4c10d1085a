"""Peak memory of whole jobs, each in its own process.

- bound: 20 steps on diamonds of `vi.fit` and of NumPyro's AutoIAFNormal (`elbo.py`);
- vae: 20 training steps of `vae_peers.py`, batches of 128;
- density: 20 updates on 20,000 rows of 63 numbers, in batches of 512, of five transforms with two
  hidden layers of 512 each: what `density.py` takes for image patches.

Peak is the largest resident set of the process (`getrusage`), libraries and code included, less
that of a bare Python. "imports" and "job" are its two parts: the library with PyTorch or JAX, and
what the job adds to that. What a job imports late, or compiles, is in the second. "ratio" is
invflow's over another library's; the aim is at most 1.2 of zuko's.

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
from typing import Any

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


def _density(library: str, flow: str, steps: int) -> Job:
    import torch

    def layers() -> tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
        if library == "nflows":
            from nflows.flows.autoregressive import MaskedAutoregressiveFlow

            module = MaskedAutoregressiveFlow(63, 512, 5, 1, use_residual_blocks=False)
            return module, module.log_prob
        flows = importlib.import_module(f"{library}.flows")
        options = {"activation": "relu"} if library == "invflow" else {}  # zuko's own
        module = getattr(flows, flow)(63, transforms=5, hidden_features=(512, 512), **options)
        return module, lambda x: module().log_prob(x)

    def job() -> None:
        rows = torch.randn(20_000, 63)
        module, log_prob = layers()
        optimizer = torch.optim.Adam(module.parameters(), 1e-3, fused=True)
        for step in range(steps):
            optimizer.zero_grad()
            (-log_prob(rows[512 * step : 512 * (step + 1)]).mean()).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()

    return job


#: By job and library: what takes the folder and a number of steps, and returns the job.
JOBS: dict[tuple[str, str], Callable[[Path, int], Job]] = {
    ("bound", "invflow"): _vi_fit,
    ("bound", "numpyro"): _numpyro,
    ("vae", "invflow"): lambda _, steps: _vae("invflow", steps),
    ("vae", "zuko"): lambda _, steps: _vae("zuko", steps),
    ("density, maf", "invflow"): lambda _, steps: _density("invflow", "MAF", steps),
    ("density, maf", "zuko"): lambda _, steps: _density("zuko", "MAF", steps),
    ("density, maf", "nflows"): lambda _, steps: _density("nflows", "MAF", steps),
    ("density, nsf", "invflow"): lambda _, steps: _density("invflow", "NSF", steps),
    ("density, nsf", "zuko"): lambda _, steps: _density("zuko", "NSF", steps),
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
    spawn = multiprocessing.get_context("spawn")
    steps = 2 if options.quick else 20

    def fresh(call: Callable[..., Any], *arguments: object) -> Any:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            return pool.submit(call, *arguments).result()

    bare = fresh(peak)
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for job, library in JOBS:
        there = options.data is not None or job != "bound"
        if there and options.only in f"{job} {library}" and _installed(library):
            print(f"measuring {job}, {library} ...", file=sys.stderr)
            given = job, library, options.data, steps, options.threads
            found[job, library] = fresh(measure, *given)

    from directions import environment, table

    print(", ".join(f"{key} {value}" for key, value in environment(options.threads).items()))
    rows: list[list[str]] = []
    for (job, library), (before, after) in found.items():
        parts = after - bare, before - bare, after - before
        row = [job, library, *(f"{part:.0f}" for part in parts), "", ""]
        if (job, "invflow") in found and library != "invflow":
            before, after = found[job, "invflow"]
            ours = after - bare, after - before
            row[-2:] = [f"{ours[0] / parts[0]:.2f}", f"{ours[1] / parts[2]:.2f}"]
        rows.append(row)
    header = ["job", "library", "peak, MB", "imports, MB", "job, MB", "ratio", "of the job alone"]
    print("\n" + table(header, rows))


if __name__ == "__main__":
    main(sys.argv[1:])
