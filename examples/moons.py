"""Learns the densities of two moons and a pinwheel from points, by maximum likelihood.

Prints the log-likelihood of held-out points, and draws points and densities.

    python examples/moons.py [--steps 2000] [--out moons.png]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from invflow.flows import Flow, build

FLOWS = {
    "gaussian": {},
    "maf": {"transforms": 5, "hidden_features": (64, 64)},
    "nsf": {"transforms": 3, "hidden_features": (64, 64)},
}


def moons(count: int, generator: torch.Generator) -> Tensor:
    """Two interleaved half circles with a little noise."""
    angle = math.pi * torch.rand(count, generator=generator)
    upper = torch.stack([angle.cos(), angle.sin()], -1)
    lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], -1)
    which = torch.rand(count, 1, generator=generator) < 0.5
    points = torch.where(which, upper, lower) - torch.tensor([0.5, 0.25])
    return 1.6 * points + 0.1 * torch.randn(count, 2, generator=generator)


def pinwheel(count: int, generator: torch.Generator, arms: int = 5) -> Tensor:
    """Arms that rotate more with increasing distance from the centre."""
    points = torch.randn(count, 2, generator=generator) * torch.tensor([0.3, 0.1])
    points[:, 0] += 1
    arm = torch.randint(arms, (count,), generator=generator)
    angle = 2 * math.pi / arms * arm + 0.25 * points[:, 0].exp()
    cos, sin = angle.cos(), angle.sin()
    x, y = points.unbind(-1)
    return 2 * torch.stack([cos * x - sin * y, sin * x + cos * y], -1)


DATA: dict[str, Callable[[int, torch.Generator], Tensor]] = {"moons": moons, "pinwheel": pinwheel}


def fit(flow: Flow, points: Tensor, steps: int, batch: int = 512) -> None:
    """Maximise the likelihood."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = points[torch.randint(len(points), (batch,))]
        loss = -flow().log_prob(rows).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def main() -> None:
    """Fit every flow to every set of points; print a table and draw a figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2000, help="updates per fit")
    parser.add_argument("--out", type=Path, default=Path("moons.png"), help="the picture")
    options = parser.parse_args()
    axis = torch.linspace(-4, 4, 201)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    figure = Figure(figsize=(2.4 * (len(FLOWS) + 1), 2.4 * len(DATA)))
    axes = figure.subplots(len(DATA), len(FLOWS) + 1, squeeze=False)
    print("| points | " + " | ".join(FLOWS) + " |")
    print("| --- " * (len(FLOWS) + 1) + "|")
    for row, (name, draw) in zip(axes, DATA.items(), strict=True):
        generator = torch.Generator().manual_seed(0)
        points, held_out = draw(20_000, generator), draw(10_000, generator)
        row[0].scatter(*points[:3000].T.numpy(), s=1)
        row[0].set_title(name, fontsize=9)
        cells = []
        for plot, (kind, config) in zip(row[1:], FLOWS.items(), strict=True):
            torch.manual_seed(0)
            flow = build(kind, features=2, **config)
            fit(flow, points, options.steps)
            with torch.no_grad():
                scores = flow().log_prob(held_out)
                density = flow().log_prob(grid).exp()
            error = float(scores.std()) / math.sqrt(len(scores))
            cells.append(f"{float(scores.mean()):.3f} ± {error:.3f}")
            plot.contourf(grid[..., 0], grid[..., 1], density, levels=20)
            plot.set_title(kind, fontsize=9)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        for plot in row:
            plot.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal", xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)
    print(f"\nLog-likelihood of held-out points in nats, ± standard error. Picture: {options.out}")


if __name__ == "__main__":
    main()
