"""What each conditioner learns from a few series: its gap to the truth, and its cost.

A nonlinear autoregressive process of D steps, whose density is known,

    x_t = 1.2 sin(2 x_{t-1}) + 0.4 x_{t-2} + 0.3 e_t,

is learned from a few series by one MAF step per conditioner, by maximum likelihood, with early
stopping on held-out series. The script prints the number of parameters, the seconds, and the gap to
the true log density of new series, in nats per series.

    python benchmarks/conditioners.py [--features 32] [--series 500,4000] [--steps 600]
"""

from __future__ import annotations

import argparse
import copy
import math
import sys
import time

import torch
from directions import environment, table
from torch import Tensor

from invflow import MAF

CONDITIONERS: dict[str, tuple[int, ...]] = {
    "made": (128, 128),
    "lstm": (32,),
    "attention": (32, 32),
}
NOISE = 0.3


def _mean(before: Tensor, second: Tensor) -> Tensor:
    return 1.2 * torch.sin(2 * before) + 0.4 * second


def simulate(series: int, features: int, generator: torch.Generator) -> Tensor:
    """Return series, (series, features)."""
    steps = [torch.zeros(series), torch.zeros(series)]
    for _ in range(features):
        noise = NOISE * torch.randn(series, generator=generator)
        steps.append(_mean(steps[-1], steps[-2]) + noise)
    return torch.stack(steps[2:], -1)


def truth(x: Tensor) -> Tensor:
    """Return the true log density, (series,)."""
    padded = torch.nn.functional.pad(x, (2, 0))
    off = (x - _mean(padded[:, 1:-1], padded[:, :-2])) / NOISE
    return (-0.5 * off.square() - math.log(NOISE * math.sqrt(2 * math.pi))).sum(-1)


def gap(conditioner: str, train: Tensor, held: Tensor, test: Tensor, steps: int) -> list[str]:
    """Train, and return a line of the table."""
    torch.manual_seed(0)
    hidden = CONDITIONERS[conditioner]
    flow = MAF(train.shape[1], 0, 1, hidden, conditioner=conditioner, order="same")
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, state = -math.inf, copy.deepcopy(flow.state_dict())
    started = time.perf_counter()
    for step in range(1, steps + 1):
        rows = train[torch.randint(len(train), (128,))]
        loss = -flow().log_prob(rows).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 25 == 0:
            with torch.no_grad():
                score = float(flow().log_prob(held).mean())
            if score > best:
                best, state = score, copy.deepcopy(flow.state_dict())
    seconds = time.perf_counter() - started
    flow.load_state_dict(state)
    with torch.no_grad():
        short = truth(test) - flow().log_prob(test)
    error = float(short.std()) / math.sqrt(len(test))
    size = sum(parameter.numel() for parameter in flow.parameters())
    shown = f"{float(short.mean()):.2f} ± {error:.2f}"
    return [str(len(train)), conditioner, str(size), f"{seconds:.0f}", shown]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--features", type=int, default=32, help="length of a series")
    parser.add_argument("--series", default="500,4000", help="numbers of training series")
    parser.add_argument("--steps", type=int, default=600, help="updates")
    options = parser.parse_args()
    print(", ".join(f"{k} {v}" for k, v in environment(torch.get_num_threads()).items()))
    generator = torch.Generator().manual_seed(0)
    test = simulate(2000, options.features, generator)
    held = simulate(500, options.features, generator)
    rows: list[list[str]] = []
    for series in map(int, options.series.split(",")):
        train = simulate(series, options.features, generator)
        for conditioner in CONDITIONERS:
            print(f"{series} series, {conditioner} ...", file=sys.stderr)
            rows.append(gap(conditioner, train, held, test, options.steps))
    head = ["series", "conditioner", "parameters", "seconds", "nats short of the truth"]
    print("\n" + table(head, rows))


if __name__ == "__main__":
    main()
