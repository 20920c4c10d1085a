"""Fits flows to the energies of Rezende and Mohamed (2015), table 1, using only the energies.

Prints the KL divergence of each flow from each target, and draws true and learned densities side by
side. The targets are normalised by quadrature, so the divergences are absolute.

    python examples/energies.py [--steps 3000] [--out energies.png]
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

Energy = Callable[[Tensor], Tensor]

FLOWS = {
    "planar": {"name": "planar", "transforms": 24},
    "radial": {"name": "radial", "transforms": 24},
    "sylvester": {"name": "sylvester", "transforms": 12},
    "iaf": {"name": "iaf", "transforms": 6, "hidden_features": (32, 32)},
    "iaf, splines": {
        "name": "iaf",
        "transforms": 4,
        "hidden_features": (32, 32),
        "univariate": "spline",
    },
}


def _bump(x: Tensor, centre: Tensor | float, width: float) -> Tensor:
    """Return the log of an unnormalised normal density."""
    return -0.5 * ((x - centre) / width).square()


def _wave(z: Tensor) -> Tensor:
    return torch.sin(0.5 * math.pi * z[..., 0])


def _wall(z: Tensor) -> Tensor:
    """Confine the infinite strips to the window that the paper shows."""
    return 0.5 * (torch.relu(z[..., 0].abs() - 4) / 0.2).square()


def ring(z: Tensor) -> Tensor:
    """U1: two halves of a ring."""
    peaks = torch.logaddexp(_bump(z[..., 0], 2, 0.6), _bump(z[..., 0], -2, 0.6))
    return -_bump(z.norm(dim=-1), 2, 0.4) - peaks


def wave(z: Tensor) -> Tensor:
    """U2: a wave."""
    return _wall(z) - _bump(z[..., 1], _wave(z), 0.4)


def split_wave(z: Tensor) -> Tensor:
    """U3: a wave that splits and joins again."""
    gap = 3 * torch.exp(_bump(z[..., 0], 1, 0.6))
    centre = _wave(z)
    return _wall(z) - torch.logaddexp(
        _bump(z[..., 1], centre, 0.35), _bump(z[..., 1], centre - gap, 0.35)
    )


def forked_wave(z: Tensor) -> Tensor:
    """U4: a wave that splits and stays split."""
    gap = 3 * torch.sigmoid((z[..., 0] - 1) / 0.3)
    centre = _wave(z)
    return _wall(z) - torch.logaddexp(
        _bump(z[..., 1], centre, 0.4), _bump(z[..., 1], centre - gap, 0.35)
    )


ENERGIES: dict[str, Energy] = {"U1": ring, "U2": wave, "U3": split_wave, "U4": forked_wave}
AXIS = torch.linspace(-6, 6, 601)
GRID = torch.stack(torch.meshgrid(AXIS, AXIS, indexing="xy"), -1)


def log_constant(energy: Energy) -> float:
    """Return the log of the integral of exp(-U), by quadrature."""
    area = float(AXIS[1] - AXIS[0]) ** 2
    return float(torch.logsumexp(-energy(GRID).flatten(), 0)) + math.log(area)


def fit(flow: Flow, energy: Energy, steps: int, batch: int = 512) -> None:
    """Minimise KL(q || exp(-U)), with the energy annealed as in the paper."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        z, log_q = flow().rsample_and_log_prob((batch,))
        strength = min(1.0, 0.01 + 2 * step / steps)
        loss = (log_q + strength * energy(z)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimizer.step()
        schedule.step()


@torch.no_grad()
def divergence(flow: Flow, energy: Energy, draws: int = 100_000) -> tuple[float, float]:
    """Return KL(q || p) in nats and its standard error."""
    z, log_q = flow().rsample_and_log_prob((draws,))
    terms = log_q + energy(z)
    return float(terms.mean()) + log_constant(energy), float(terms.std()) / math.sqrt(draws)


def main() -> None:
    """Fit every flow to every energy; print a table and draw a figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=3000, help="updates per fit")
    parser.add_argument("--out", type=Path, default=Path("energies.png"), help="the picture")
    options = parser.parse_args()
    figure = Figure(figsize=(2.2 * (len(FLOWS) + 1), 2.2 * len(ENERGIES)))
    axes = figure.subplots(len(ENERGIES), len(FLOWS) + 1, squeeze=False)
    print("| target | " + " | ".join(FLOWS) + " |")
    print("| --- " * (len(FLOWS) + 1) + "|")
    for row, (name, energy) in zip(axes, ENERGIES.items(), strict=True):
        row[0].contourf(GRID[..., 0], GRID[..., 1], torch.exp(-energy(GRID)), levels=20)
        row[0].set_title(f"{name}, true", fontsize=9)
        cells = []
        for axis, (label, config) in zip(row[1:], FLOWS.items(), strict=True):
            torch.manual_seed(0)
            flow = build(features=2, **config)
            fit(flow, energy, options.steps)
            kl, error = divergence(flow, energy)
            cells.append(f"{kl:.3f} ± {error:.3f}")
            with torch.no_grad():
                z = flow().sample((200_000,))
            edges = torch.linspace(-4, 4, 121).numpy()
            axis.hist2d(z[:, 0].numpy(), z[:, 1].numpy(), bins=[edges, edges])
            axis.set_title(f"{label}, KL {kl:.2f}", fontsize=9)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        for axis in row:
            axis.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal", xticks=[], yticks=[])
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)
    print(f"\nKL(q || p) in nats, ± Monte Carlo error. Picture: {options.out}")


if __name__ == "__main__":
    main()
