"""pocoMC with flows of invflow beside its own: seconds, calls of the likelihood, evidence.

Three of pocoMC's examples, in ten dimensions, under uniform priors; their evidence is known by
quadrature. All flows are built as pocoMC's own: six transforms, three residual hidden layers of 32.
pocoMC stops at a number of effective draws; `effective` is Kish's count of what it returned.

    python benchmarks/samplers.py run [--examples ...] [--flows ...] [--seeds 0] [--limit SECONDS]
    python benchmarks/samplers.py table

`run` makes a new process for each example, flow and seed, on one thread, whose processor time
`seconds` counts, and adds its line to `results/simulation/samplers.csv`; it leaves out what is
there. Needs pip install "invflow[zuko]" pocomc.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lines
import numpy as np
import workers
from scipy import integrate, special

RESULTS = Path(__file__).parent / "results" / "simulation" / "samplers.csv"
LABELS = ("example", "flow", "seed")
MEASURES = ("seconds", "calls", "effective", "log evidence", "error")
FIELDS = (*LABELS, *MEASURES, "note")
FEATURES, SIDE = 10, 10.0
#: Fewer particles than pocoMC's 512, which only multiplies all seconds.
SIZES: dict[str, Any] = {"n_effective": 256, "n_active": 128}
DRAWS = 2048
#: The log of the density of the prior.
LOG_PRIOR = -FEATURES * math.log(2 * SIDE)


@dataclass(frozen=True)
class Example:
    """A log likelihood of rows, (number, FEATURES), and the log of its integral over the prior."""

    log_likelihood: Callable[[np.ndarray], np.ndarray]
    log_evidence: Callable[[], float]


def _rosenbrock(x: np.ndarray) -> np.ndarray:
    even, odd = x[:, ::2], x[:, 1::2]
    return -(10 * (even**2 - odd) ** 2 + (even - 1) ** 2).sum(1)


def _rosenbrock_evidence() -> float:
    def pair(even: float) -> float:
        """Return the integral over the odd one of a pair."""
        inside = special.erf(np.sqrt(10) * (np.array([-SIDE, SIDE]) - even**2))
        return math.exp(-((even - 1) ** 2)) * math.sqrt(math.pi / 40) * (inside[1] - inside[0])

    each = integrate.quad(pair, -SIDE, SIDE, points=[1.0, math.sqrt(SIDE)], limit=200)[0]
    return LOG_PRIOR + FEATURES / 2 * math.log(each)


def _double_gaussian(x: np.ndarray) -> np.ndarray:
    """Two normal distributions of deviation 1/2, of which one has two thirds of the mass."""
    squares = [((x - 2 * sign) ** 2).sum(1) / 0.5 for sign in (-1, 1)]
    constant = -FEATURES / 2 * math.log(0.5 * math.pi)
    return constant + np.logaddexp(math.log(2 / 3) - squares[0], math.log(1 / 3) - squares[1])


def _funnel(x: np.ndarray) -> np.ndarray:
    first, others = x[:, 0], x[:, 1:]
    rest = -0.5 * (others**2).sum(1) * np.exp(-first) - 0.5 * (FEATURES - 1) * first
    return -(first**2) / 18 - math.log(3) + rest - FEATURES / 2 * math.log(2 * math.pi)


def _funnel_evidence() -> float:
    def at(first: float) -> float:
        inside = special.erf(SIDE * math.exp(-first / 2) / math.sqrt(2))
        return math.exp(-(first**2) / 18) / (3 * math.sqrt(2 * math.pi)) * inside ** (FEATURES - 1)

    return LOG_PRIOR + math.log(integrate.quad(at, -SIDE, SIDE)[0])


EXAMPLES = {
    "rosenbrock": Example(_rosenbrock, _rosenbrock_evidence),
    "double gaussian": Example(_double_gaussian, lambda: LOG_PRIOR),
    "funnel": Example(_funnel, _funnel_evidence),
}


def _ours(name: str) -> Any:
    from invflow.adapters.zuko import to_zuko
    from invflow.flows import build

    sizes: dict[str, Any] = {"transforms": 6, "hidden_features": (32, 32, 32)}
    return to_zuko(build(name, features=FEATURES, residual=True, **sizes))


FLOWS: dict[str, Callable[[], Any]] = {
    "pocoMC's NSF": lambda: "nsf6",
    "pocoMC's MAF": lambda: "maf6",
    "invflow's NSF": lambda: _ours("nsf"),
    "invflow's MAF": lambda: _ours("maf"),
}


def worker(name: str, flow: str, seed: int) -> None:
    """Run a sampler, and print its line."""
    import pocomc
    import scipy.stats
    import torch

    warnings.simplefilter("ignore")
    example = EXAMPLES[name]
    torch.manual_seed(seed)
    start = time.process_time()
    sampler = pocomc.Sampler(
        pocomc.Prior([scipy.stats.uniform(-SIDE, 2 * SIDE)] * FEATURES),
        example.log_likelihood,
        vectorize=True,
        flow=FLOWS[flow](),
        random_state=seed,
        **SIZES,
    )
    sampler.run(n_total=DRAWS, n_evidence=DRAWS, progress=False)
    seconds = time.process_time() - start
    weights = sampler.posterior()[1]
    found = float(sampler.evidence()[0])
    measures = {
        "seconds": seconds,
        "calls": int(sampler.results["calls"][-1]),
        "effective": float(weights.sum() ** 2 / (weights**2).sum()),
        "log evidence": found,
        "error": found - example.log_evidence(),
    }
    workers.say(measures)


def run(options: argparse.Namespace) -> None:
    """Measure what is missing, each in a process of its own, and keep the lines."""
    done = lines.done(RESULTS, LABELS)
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for seed in options.seeds:
        for example in options.examples:
            for flow in options.flows:
                labels = (example, flow, str(seed))
                if labels not in done:
                    arguments = ["worker", *labels]
                    found, last = workers.results(__file__, arguments, one_thread, options.limit)
                    measures = found[0] if found else {"note": f"failed: {last}"}
                    lines.add(
                        RESULTS, FIELDS, [{**dict(zip(LABELS, labels, strict=True)), **measures}]
                    )


def table() -> str:
    """Return a Markdown table: a row for each example and flow, means over seeds."""
    text = [f"| example | flow | {' | '.join(MEASURES)} |", "| --- |" + " --- |" * 6]
    for example in EXAMPLES:
        for flow in FLOWS:
            kept = [
                line
                for line in lines.read(RESULTS)
                if (line["example"], line["flow"]) == (example, flow)
            ]
            values = {m: [float(line[m]) for line in kept if line[m]] for m in MEASURES}
            if any(values.values()):
                cells = [f"{statistics.mean(each):.4g}" for each in values.values()]
                text.append(f"| {example} | {flow} | {' | '.join(cells)} |")
    return "\n".join(text)


def main(arguments: list[str]) -> None:
    """Run one of the commands."""
    if arguments[:1] == ["worker"]:
        name, flow, seed = arguments[1:]
        worker(name, flow, int(seed))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--examples", nargs="+", choices=EXAMPLES, default=list(EXAMPLES))
    parser.add_argument("--flows", nargs="+", choices=FLOWS, default=list(FLOWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--limit", type=float, default=3600.0)
    options = parser.parse_args(arguments)
    if options.command == "run":
        run(options)
    else:
        print(table())


if __name__ == "__main__":
    main(sys.argv[1:])
