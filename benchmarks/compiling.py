"""What `compile=True` gains: the time it takes, and the number of steps that win it back.

A step is the loss of a batch, its gradient, clipping and Adam. The loss is that of `FlowDensity`
for flows, the bound on images of 8 x 8 pixels for the VAE, and those of `distill` and `vi.fit` for
a student and a posterior, both with an IAF of splines whose pass from noise to draws is compiled.
Each is timed uncompiled, compiled and uncompiled again; the fastest of several rounds counts.
Compiling is the first compiled step, with an empty cache. One thread.

"repaid" is the number of steps that win back the time spent on compiling.

    python benchmarks/compiling.py [--kinds maf,nsf,...] [--features 8] [--batch 256]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from directions import environment
from torch import Tensor, nn

from invflow import flows
from invflow.distillation import FlowTeacher, Objective
from invflow.distillation.losses import Aim
from invflow.training import compiling
from invflow.vae.build import build
from invflow.vae.config import Config, Format
from invflow.vi.fitting.objectives import path_loss
from invflow.vi.targets import density as posteriors
from invflow.vi.targets.target import Flat

ROUNDS, STEPS = 5, 10
SPLINES: dict[str, Any] = {"name": "iaf", "univariate": "spline"}
#: Arguments of each kind of model, by the name of the kind.
KINDS: dict[str, dict[str, Any]] = {
    "maf": {"name": "maf"},
    "nsf": {"name": "nsf"},
    "realnvp": {"name": "realnvp"},
    "coupling-nsf": {"name": "coupling-nsf"},
    "planar": {"name": "planar"},
    "sylvester": {"name": "sylvester"},
    "naf": {"name": "naf"},
    "lstm": {"name": "maf", "conditioner": "lstm", "hidden_features": (32,)},
    "vae": {"name": "vae"},
    "student": SPLINES,
    "posterior": SPLINES,
}
#: Measured by default; the others take minutes, or cannot be compiled.
USUAL = "maf,nsf,realnvp,coupling-nsf,vae"


class Density(nn.Module):
    """A flow whose call is the log density of rows."""

    def __init__(self, flow: flows.Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor) -> Tensor:
        return self.flow(validate_args=False).log_prob(x).double()


def problem(
    kind: str, features: int, batch: int
) -> tuple[nn.Module, list[nn.Module], Callable[[], Tensor]]:
    """Return a model, its parts to compile, and a function that computes its loss."""
    numbers = torch.Generator().manual_seed(0)
    if kind == "vae":
        torch.manual_seed(0)
        format = Format(shape=(1, 8, 8), levels=17, likelihood="logistic", digest="")
        model = build(Config(posteriors=("iaf",)), format)["iaf"]
        levels = torch.randint(17, (batch, 64), generator=numbers)
        x = model.observe(levels, numbers)
        return model, list(model.parts), lambda: -model.elbo(x, numbers).bound.mean()
    flow = flows.build(**KINDS[kind], features=features, generator=numbers)
    if kind == "student":
        teacher = flows.build(name="nsf", features=features, generator=numbers)
        aim = Aim(Objective(), FlowTeacher(teacher), None)
        return flow, [flow.transform], lambda: aim.loss(flow, batch, numbers)
    if kind == "posterior":
        target = posteriors.Density(Flat(lambda x: -x.square().sum(-1) / 2, features), numbers)
        noise = torch.randn(batch, features, generator=numbers)
        return flow, [flow.transform], lambda: path_loss(flow, target, noise)[0]
    density = Density(flow)
    rows = 0.5 * torch.randn(batch, features, generator=numbers)
    return density, [density], lambda: -density(rows).mean()


def measure(kind: str, features: int, batch: int) -> list[str]:
    """Return a line of the table."""
    model, parts, loss = problem(kind, features, batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()

    def fastest() -> float:
        step()
        times: list[float] = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            for _ in range(STEPS):
                step()
            times.append((time.perf_counter() - started) / STEPS)
        return min(times)

    eager = fastest()
    with compiling.compiled(parts, "cpu"):
        started = time.perf_counter()
        step()
        seconds = time.perf_counter() - started
        fast = fastest()
    eager = min(eager, fastest())
    gain = eager - fast
    repaid = f"{seconds / gain:,.0f}" if gain > 0 else "never"
    ratio = f"{eager / fast:.2f}"
    return [kind, f"{seconds:.0f}", f"{eager * 1e3:.2f}", f"{fast * 1e3:.2f}", ratio, repaid]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default=USUAL, help=f"some of: {', '.join(KINDS)}")
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--batch", type=int, default=256)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sys.stdout.write(
        f"{environment(threads=1)}\n{options.features} features, batch {options.batch}\n"
    )
    sys.stdout.write("| kind | compiling, s | eager, ms | compiled, ms | ratio | repaid |\n")
    sys.stdout.write(f"| {' | '.join(6 * ['---'])} |\n")
    for kind in options.kinds.split(","):
        with tempfile.TemporaryDirectory() as empty:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
            line = measure(kind.strip(), options.features, options.batch)
        sys.stdout.write(f"| {' | '.join(line)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
