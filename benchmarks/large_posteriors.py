"""Posteriors of hundreds and of thousands of parameters, at default settings.

- Gaussian: eigenvalues of the covariance from 1e-3 to 1e3, in a random basis; log evidence 0.
- groups: four observations in each of many groups, normal means with an unknown mean and scale,
  non-centred; its log evidence is an integral over two parameters, by quadrature.

Each fit runs in a process of its own. Memory is the most that the process had, PyTorch included.
With `--draws`, a million draws of a posterior with 50 parameters are timed instead.

    python benchmarks/large_posteriors.py [--threads 2] [--draws]
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from directions import environment, table
from torch import Tensor

from invflow import vi

SEED, OBSERVATIONS, GRID = 0, 4, 1000
CASES = (("Gaussian", 500), ("Gaussian", 2000), ("groups", 502))
LogDensity = Callable[[Tensor], Tensor]


def gaussian(dim: int) -> tuple[LogDensity, float]:
    """Return a log density with a condition of a million, and its log evidence."""
    generator = torch.Generator().manual_seed(SEED)
    basis = torch.linalg.qr(torch.randn(dim, dim, generator=generator).double()).Q
    variances = torch.logspace(-3, 3, dim).double()
    constant = 0.5 * float(variances.log().sum()) + dim / 2 * math.log(2 * math.pi)

    def log_density(z: Tensor) -> Tensor:
        return -0.5 * (((z - 3) @ basis).square() / variances).sum(-1) - constant

    return log_density, 0.0


def groups(dim: int) -> tuple[LogDensity, float]:
    """Return the log density of mu, log tau and standardised effects, and its log evidence."""
    generator = torch.Generator().manual_seed(SEED)
    means = 2 + 0.7 * torch.randn(dim - 2, generator=generator).double()
    means += torch.randn(dim - 2, generator=generator).double() / math.sqrt(OBSERVATIONS)

    def prior(mu: Tensor, log_tau: Tensor) -> Tensor:
        return -0.5 * (mu / 10).square() - 0.5 * log_tau.exp().square() + log_tau

    def log_density(z: Tensor) -> Tensor:
        mu, log_tau, effects = z[:, 0], z[:, 1], z[:, 2:]
        theta = mu.unsqueeze(-1) + log_tau.exp().unsqueeze(-1) * effects
        likelihood = -0.5 * OBSERVATIONS * (means - theta).square().sum(-1)
        normal = -0.5 * effects.square().sum(-1) - (dim - 2) / 2 * math.log(2 * math.pi)
        return prior(mu, log_tau) + likelihood + normal

    # The effects are integrated out in closed form: the means are N(mu, tau^2 + 1 / n).
    axes = torch.linspace(-4, 8, GRID).double(), torch.linspace(-7, 2, GRID).double()
    mu, log_tau = torch.meshgrid(*axes, indexing="ij")
    variance = log_tau.exp().square() + 1 / OBSERVATIONS
    square = (means.square().sum() - 2 * mu * means.sum()) + (dim - 2) * mu.square()
    value = prior(mu, log_tau) - 0.5 * square / variance
    value -= (dim - 2) / 2 * (variance * OBSERVATIONS).log()
    cell = math.prod(float(axis[1] - axis[0]) for axis in axes)
    return log_density, float(value.flatten().logsumexp(0)) + math.log(cell)


KINDS = {"Gaussian": gaussian, "groups": groups}


def worker(kind: str, dim: int) -> None:
    """Fit one posterior and print a line of the table."""
    log_density, evidence = KINDS[kind](dim)
    started = time.perf_counter()
    posterior = vi.fit(log_density, dim, seed=SEED, progress=False)
    seconds = time.perf_counter() - started
    verdict = posterior.diagnose()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    assert posterior.record is not None
    line = [
        f"{kind}, D = {dim}",
        f"{seconds:.0f}",
        f"{memory:.1f}",
        f"{posterior.record.evaluations / 1000:.0f}k",
        str(posterior.record.steps),
        f"{verdict.log_evidence - evidence:+.3f} ± {verdict.log_evidence_error:.3f}",
        f"{verdict.khat:.2f}",
        f"{verdict.ess / verdict.draws:.0%}",
        verdict.level,
    ]
    print(json.dumps(line))


def million() -> None:
    """Time a million draws: of the flow with their weights, and resampled by them."""

    def log_density(z: Tensor) -> Tensor:
        bent = z + 0.1 * torch.tanh(z @ mixing)
        return -0.5 * bent.square().sum(-1) - 0.01 * z.pow(4).sum(-1)

    generator = torch.Generator().manual_seed(SEED)
    mixing = torch.randn(50, 50, generator=generator).double() / 7
    posterior = vi.fit(log_density, 50, seed=SEED, progress=False)
    for name, draw in (
        ("with weights", lambda: posterior.to_arviz(10**6, resampled=False)),
        ("resampled", lambda: posterior.draws(10**6)),
    ):
        started = time.perf_counter()
        draw()
        print(f"a million draws, {name}: {time.perf_counter() - started:.1f} s", flush=True)


def main(arguments: list[str]) -> None:
    """Fit all of them, each in its own process, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--draws", action="store_true", help="time a million draws")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "D"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.only:
        worker(options.only[0], int(options.only[1]))
        return
    if options.draws:
        million()
        return
    print(", ".join(f"{k} {v}" for k, v in environment(options.threads).items()), file=sys.stderr)
    lines: list[list[str]] = []
    for kind, dim in CASES:
        command = [sys.executable, __file__, "--threads", str(options.threads)]
        done = subprocess.run(
            [*command, "--only", kind, str(dim)], check=True, stdout=subprocess.PIPE, text=True
        )
        lines.append(json.loads(done.stdout))
        print(*lines[-1], file=sys.stderr, flush=True)
    heads = ["posterior", "seconds", "GB", "evaluations", "steps", "log evidence", "k-hat"]
    print(table([*heads, "effective", "verdict"], lines))


if __name__ == "__main__":
    main(sys.argv[1:])
