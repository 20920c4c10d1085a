"""A flow trained on a target: steps in rounds, until the bound has stopped moving."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from invflow.flows import Flow
from invflow.vi.density import Density
from invflow.vi.objectives import path_loss


@dataclass(frozen=True)
class Settings:
    """How to train.

    Args:
        batch: draws per step.
        draws: draws in a group of the importance-weighted bound; 1 for the evidence lower bound.
        learning_rate: Adam's, in the first rounds.
        round: steps in a round.
        drops: how many times the rate is lowered before training ends.
        most_steps: where it ends at the latest.
        tolerance: nats by which the bound has to rise in a round to count as moving.
        check: draws on which it is measured.
    """

    batch: int = 256
    draws: int = 1
    learning_rate: float = 5e-3
    round: int = 100
    drops: int = 3
    most_steps: int = 5000
    tolerance: float = 2e-3
    check: int = 2048


class Noise:
    """Standard normal vectors from a scrambled Sobol sequence, more even than random ones."""

    def __init__(self, dim: int, seed: int) -> None:
        self._engine = SobolEngine(dim, scramble=True, seed=seed)

    def __call__(self, count: int, like: Tensor) -> Tensor:
        """Return the next vectors, (count, dim), in the dtype and on the device of `like`."""
        uniform = self._engine.draw(count, dtype=torch.float64)
        edge = 2.0**-32
        return torch.special.ndtri(uniform.clamp(edge, 1 - edge)).to(like)


def train(
    flow: Flow,
    density: Density,
    settings: Settings,
    seed: int,
    report: Callable[[int, float], None],
) -> tuple[int, str]:
    """Train a flow in place; return the steps taken and why no more were."""
    like = next(flow.parameters())
    noise, check = Noise(flow.features, seed), Noise(flow.features, seed + 1)(settings.check, like)
    average = copy.deepcopy(flow)
    best, best_terms = copy.deepcopy(flow.state_dict()), _terms(flow, density, check)
    optimizer = torch.optim.Adam(flow.parameters(), lr=settings.learning_rate)
    dropped = steps = 0
    while steps < settings.most_steps:
        for _ in range(settings.round):
            loss, _ = path_loss(flow, density, noise(settings.batch, like), settings.draws)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
            optimizer.step()
            _follow(average, flow, 0.97)
            steps += 1
        terms = _terms(average, density, check)
        report(steps, float(terms.mean()))
        rise = (terms - best_terms)[torch.isfinite(terms) & torch.isfinite(best_terms)]
        gain, error = float(rise.mean()), float(rise.std()) / math.sqrt(max(len(rise), 1))
        if gain > 0:
            best, best_terms = copy.deepcopy(average.state_dict()), terms
        if gain > max(2 * error, settings.tolerance):
            continue
        dropped += 1
        if dropped > settings.drops:
            break
        flow.load_state_dict(best)
        average.load_state_dict(best)
        for group in optimizer.param_groups:
            group["lr"] /= 3
    flow.load_state_dict(best)
    reason = "converged" if dropped > settings.drops else "most_steps"
    return steps, reason


@torch.no_grad()
def _terms(flow: Flow, density: Density, noise: Tensor) -> Tensor:
    x, ladj = flow.transform(noise)
    return density.exact(x) - flow.base.log_prob(noise) + ladj


@torch.no_grad()
def _follow(average: Flow, flow: Flow, decay: float) -> None:
    for mean, value in zip(average.parameters(), flow.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
