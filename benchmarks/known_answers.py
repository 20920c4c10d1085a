"""Targets whose answers are known: evidence, means and spreads of fits at default settings.

python benchmarks/known_answers.py [--seed 0]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from directions import environment, table
from torch import Tensor
from torch.distributions import Gamma, MultivariateNormal, Normal, StudentT

from invflow import vi

EXACT_DRAWS = 200_000


@dataclass(frozen=True)
class Known:
    """A normalised density, so that the log evidence is zero, and exact draws of it."""

    log_density: Callable[[Tensor], Tensor]
    draws: Tensor


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def _randn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_generator(), dtype=torch.float64)


def gaussian(dim: int = 20) -> Known:
    """Condition number a million, far from the origin."""
    basis = torch.linalg.qr(_randn(dim, dim)).Q
    root = basis * torch.logspace(-1.5, 1.5, dim, dtype=torch.float64)
    normal = MultivariateNormal(10.0 * torch.arange(dim).double(), root @ root.mT)
    return Known(normal.log_prob, normal.mean + _randn(EXACT_DRAWS, dim) @ root.mT)


def banana() -> Known:
    """Y around x squared."""

    def log_density(z: Tensor) -> Tensor:
        return Normal(0.0, 1.0).log_prob(z[:, 0]) + Normal(z[:, 0] ** 2, 0.5).log_prob(z[:, 1])

    noise = _randn(EXACT_DRAWS, 2)
    return Known(log_density, torch.stack([noise[:, 0], noise[:, 0] ** 2 + noise[:, 1] / 2], -1))


def funnel(dim: int = 10) -> Known:
    """Neal's: v ~ N(0, 3), the others N(0, e^{v/2})."""

    def log_density(z: Tensor) -> Tensor:
        width = torch.exp(z[:, :1] / 2)
        rest = -0.5 * (z[:, 1:] / width).square() - width.log() - 0.5 * math.log(2 * math.pi)
        return Normal(0.0, 3.0).log_prob(z[:, 0]) + rest.sum(-1)

    noise = _randn(EXACT_DRAWS, dim)
    v = 3 * noise[:, :1]
    return Known(log_density, torch.cat([v, torch.exp(v / 2) * noise[:, 1:]], -1))


def circle(count: int = 8) -> Known:
    """Eight modes around a circle."""
    angles = 2 * math.pi * torch.arange(count).double() / count
    centres = 4 * torch.stack([angles.cos(), angles.sin()], -1)

    def log_density(z: Tensor) -> Tensor:
        far = ((z.unsqueeze(1) - centres) / 0.4).square().sum(-1)
        return torch.logsumexp(-0.5 * far, 1) - math.log(count * 2 * math.pi * 0.16)

    which = torch.randint(count, (EXACT_DRAWS,), generator=_generator())
    return Known(log_density, centres[which] + 0.4 * _randn(EXACT_DRAWS, 2))


def heavy(dim: int = 5, df: float = 3.0) -> Known:
    """Independent Student-t with three degrees of freedom."""
    torch.manual_seed(1)
    draws = StudentT(torch.tensor(df).double()).sample((EXACT_DRAWS, dim))
    return Known(lambda z: StudentT(df).log_prob(z).sum(-1), draws)


def together(dim: int = 20, df: float = 2.0) -> Known:
    """A multivariate Student-t with two degrees of freedom: all coordinates are large at once."""
    torch.manual_seed(1)
    chi = Gamma(torch.tensor(df / 2).double(), torch.tensor(0.5).double()).sample((EXACT_DRAWS, 1))
    constant = math.lgamma((df + dim) / 2) - math.lgamma(df / 2) - dim / 2 * math.log(df * math.pi)
    return Known(
        lambda z: constant - (df + dim) / 2 * torch.log1p(z.square().sum(-1) / df),
        _randn(EXACT_DRAWS, dim) * (df / chi).sqrt(),
    )


def bounded(dim: int = 3) -> Known:
    """Gamma densities of positive numbers, on the log scale."""
    torch.manual_seed(1)
    gamma = Gamma(torch.tensor(2.0).double(), torch.tensor(3.0).double())
    draws = gamma.sample((EXACT_DRAWS, dim)).log()
    return Known(lambda z: (gamma.log_prob(z.exp()) + z).sum(-1), draws)


TARGETS: dict[str, Callable[[], Known]] = {
    "Gaussian, condition 1e6, D = 20": gaussian,
    "banana": banana,
    "funnel, D = 10": funnel,
    "eight modes": circle,
    "Student-t(3), D = 5": heavy,
    "multivariate t(2), D = 20": together,
    "log of gamma, D = 3": bounded,
}


def row(name: str, known: Known, seed: int) -> list[str]:
    """Fit, and return a line of the table."""
    started = time.perf_counter()
    posterior = vi.fit(known.log_density, known.draws.shape[1], seed=seed)
    seconds = time.perf_counter() - started
    verdict = posterior.diagnose()
    x = posterior.resample(20_000)
    # Quartiles, which every density has.
    levels = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    found, exact = (draws.quantile(levels, 0) for draws in (x, known.draws[:100_000]))
    off = ((found - exact).abs() / (exact[2] - exact[0])).max()
    return [
        name,
        f"{seconds:.0f}",
        f"{verdict.log_evidence:+.3f} ± {verdict.log_evidence_error:.3f}",
        f"{float(off):.3f}",
        f"{verdict.khat:.2f}",
        f"{verdict.ess:.0f}",
        verdict.level,
    ]


def main() -> None:
    """Fit, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="random seed of the fits")
    options = parser.parse_args()
    about = environment(torch.get_num_threads())
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    rows = [row(name, make(), options.seed) for name, make in TARGETS.items()]
    head = ["target", "seconds", "log evidence (0)", "quartiles off by", "k-hat", "ESS", "verdict"]
    print("\n" + table(head, rows))
    print("\nQuartiles of resampled draws, in interquartile ranges. ESS of 10000 draws.")


if __name__ == "__main__":
    main()
