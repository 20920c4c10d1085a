"""Six posteriors of posteriordb at default settings, against reference draws and Pyro's guides.

For every posterior and seed: time, evaluations of the log density, k-hat, effective sample size,
and the largest error over parameters of importance-resampled means (in posterior standard
deviations) and of log standard deviations. Pyro's guides get as many evaluations of the density:
Adam with a learning rate that falls from 1e-2, batches of 64.

    python benchmarks/posteriors.py --data FOLDER [--seeds 5] [--guides] [--only NAME]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import posteriordb
import torch
from directions import environment, table
from torch import Tensor

from invflow import vi
from invflow.vi.trust.importance import importance, resampled

DRAWS = 10_000
#: From how many these are drawn by importance.
POOL = 4 * DRAWS
GUIDES = ("AutoIAFNormal", "AutoMultivariateNormal")


@dataclass(frozen=True)
class Score:
    """How close an approximation is to the reference."""

    seconds: float
    evaluations: int
    khat: float
    ess: float
    mean_error: float
    sd_error: float

    @property
    def solved(self) -> bool:
        """Whether it is right, and known to be: means and log-sds within 0.1, weights fine."""
        near = max(self.mean_error, self.sd_error) < 0.1
        return near and (self.khat < 0.7 or self.ess > DRAWS / 2)


def score(
    log_p: Tensor, log_q: Tensor, x: Tensor, reference: Tensor, seconds: float, evaluations: int
) -> Score:
    """Hold draws by importance against the reference: what `Posterior.resample` gives."""
    first = importance(log_p[:DRAWS], log_q[:DRAWS])
    weights = importance(log_p, log_q).log_weights
    x = x[resampled(weights, DRAWS, torch.Generator().manual_seed(0))]
    return Score(
        seconds,
        evaluations,
        first.khat,
        first.ess,
        float(((x.mean(0) - reference.mean(0)) / reference.std(0)).abs().max()),
        float((x.std(0) / reference.std(0)).log().abs().max()),
    )


def ours(name: str, folder: Path, seed: int) -> Score:
    """Fit with invflow."""
    target, reported, reference = posteriordb.load(name, folder)
    started = time.perf_counter()
    posterior = vi.fit(target, seed=seed)
    seconds = time.perf_counter() - started
    z = posterior.sample(POOL)
    record = posterior.record
    return score(
        target.log_density(z),
        posterior.log_prob(z),
        reported(z),
        reference,
        seconds,
        record.evaluations if record else 0,
    )


def guide(kind: str, name: str, folder: Path, seed: int, evaluations: int) -> Score:
    """Fit one of Pyro's guides with as many evaluations of the density."""
    import pyro
    from pyro.infer import SVI, Trace_ELBO, autoguide
    from pyro.optim import ClippedAdam

    target, reported, reference = posteriordb.load(name, folder)
    batch, rate = 64, 1e-2
    steps = max(evaluations // batch, 1)

    def model() -> None:
        z = pyro.sample(
            "z",
            pyro.distributions.Normal(torch.zeros(target.dim).double(), 1.0)
            .to_event(1)
            .mask(False),
        )
        pyro.factor("density", target.log_density(z.reshape(-1, target.dim)).reshape(z.shape[:-1]))

    pyro.clear_param_store()
    pyro.set_rng_seed(seed)
    torch.set_default_dtype(torch.float64)
    try:
        made = getattr(autoguide, kind)(model)
        decay = 0.01 ** (1 / steps)
        optimizer = ClippedAdam({"lr": rate, "lrd": decay, "clip_norm": 10.0})
        loss = Trace_ELBO(num_particles=batch, vectorize_particles=True, max_plate_nesting=0)
        svi = SVI(model, made, optimizer, loss)
        started = time.perf_counter()
        for _ in range(steps):
            svi.step()
        seconds = time.perf_counter() - started
        with torch.no_grad():
            q = made.get_posterior()
            z = q.sample((POOL,))
            log_q = q.log_prob(z)
    finally:
        torch.set_default_dtype(torch.float32)
    return score(target.log_density(z), log_q, reported(z), reference, seconds, steps * batch)


def row(label: str, name: str, scores: list[Score]) -> list[str]:
    """Return a line of the table: medians, and the worst errors."""

    def middle(pick: Callable[[Score], float]) -> float:
        return statistics.median(map(pick, scores))

    return [
        name.partition("-")[2],
        label,
        f"{sum(each.solved for each in scores)} of {len(scores)}",
        f"{middle(lambda s: s.seconds):.0f} ({max(s.seconds for s in scores):.0f})",
        f"{middle(lambda s: s.evaluations) / 1000:.0f}k",
        f"{middle(lambda s: s.khat):.2f}",
        f"{middle(lambda s: s.ess):.0f}",
        f"{max(s.mean_error for s in scores):.3f}",
        f"{max(s.sd_error for s in scores):.3f}",
    ]


def main() -> None:
    """Fit, score, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of posteriordb posteriors")
    parser.add_argument("--seeds", type=int, default=5, help="fits of each posterior")
    parser.add_argument("--guides", action="store_true", help="also fit Pyro's guides, one seed")
    parser.add_argument("--only", default="", help="posteriors whose name contains this")
    options = parser.parse_args()
    about = environment(torch.get_num_threads())
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    rows: list[list[str]] = []
    for name in filter(lambda name: options.only in name, posteriordb.MODELS):
        print(f"{name} ...", file=sys.stderr)
        scores = [ours(name, options.data, seed) for seed in range(options.seeds)]
        rows.append(row("invflow", name, scores))
        budget = int(statistics.median(each.evaluations for each in scores))
        for kind in GUIDES if options.guides else ():
            print(f"{name}, {kind} ...", file=sys.stderr)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    found = guide(kind, name, options.data, 0, budget)
                except Exception as error:
                    line = f"failed: {type(error).__name__}"
                    rows.append([name.partition("-")[2], kind, line, *[""] * 6])
                    continue
            rows.append(row(kind, name, [found]))
    head = ["posterior", "fit", "solved", "seconds (most)", "evaluations", "k-hat", "ESS"]
    print("\n" + table([*head, "mean error", "log-sd error"], rows))
    print(
        "\nMedians over seeds; the largest errors over seeds, in posterior sds, of means and log "
        f"sds of {DRAWS} draws by importance, from {POOL}. k-hat and ESS of {DRAWS} draws."
    )


if __name__ == "__main__":
    main()
