"""Draws from the posteriors of tasks: exact where there is a way, or by tempering."""

from __future__ import annotations

import hashlib
import math
import tempfile
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow._random import seeded
from simulators import tasks
from simulators.tasks import SLCP, GaussianLinear, GaussianLinearUniform, Task, TwoMoons

#: Number of particles, moves of each at a power, and moves at the end.
PARTICLES, MOVES, LAST = 4000, 8, 100


def stored(task: Task, index: int, number: int) -> Tensor:
    """Return draws from the posterior of one of a task's observations, (number, D).

    They are kept in a file, because tempering takes minutes, and made again when the code changes.
    """
    code = hashlib.blake2b(digest_size=8)
    for module in (__file__, tasks.__file__):
        code.update(Path(module).read_bytes())
    folder = Path(tempfile.gettempdir()) / f"references-{code.hexdigest()}"
    path = folder / f"{task.name}-{index}-{number}.npy"
    if not path.exists():
        found = draws(task, task.observation(index), number, index)
        folder.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            np.save(file, found.numpy())
        Path(file.name).replace(path)
    return torch.from_numpy(np.load(path))


def draws(task: Task, x: Tensor, number: int, seed: int) -> Tensor:
    """Return draws from the posterior of a task, (number, D)."""
    with seeded(seed):
        return _draws(task, x, number)


@singledispatch
def _draws(task: Task, x: Tensor, number: int) -> Tensor:
    if number > PARTICLES:
        raise ValueError(f"number must be at most {PARTICLES}, got {number}")
    return tempered(task, x)[torch.randperm(PARTICLES)[:number]]


@_draws.register
def _(task: SLCP, x: Tensor, number: int) -> Tensor:
    theta = _draws.dispatch(Task)(task, x, number)
    # Only the squares of these two matter: four modes of equal mass.
    theta[:, 2:4] *= 2 * torch.randint(2, (number, 2)) - 1
    return theta


@_draws.register
def _(task: GaussianLinear, x: Tensor, number: int) -> Tensor:
    # The prior's variance is the likelihood's.
    return x / 2 + task.deviation / math.sqrt(2) * torch.randn(number, len(x))


@_draws.register
def _(task: GaussianLinearUniform, x: Tensor, number: int) -> Tensor:
    low, high = (((side - x) / task.deviation).double() for side in (-1, 1))
    low, high = torch.special.ndtr(low), torch.special.ndtr(high)
    rank = low + (high - low) * torch.rand(number, len(x)).double()
    return (x + task.deviation * torch.special.ndtri(rank)).float()


@_draws.register
def _(task: TwoMoons, x: Tensor, number: int) -> Tensor:
    kept: list[Tensor] = []
    while sum(map(len, kept)) < number:
        # The shift is a rotation, folded in half: each noise has two parameters, or none.
        fold, difference = (x - task.crescent(number)).unbind(-1)
        total = -fold * torch.where(torch.rand(number) < 0.5, -1, 1)
        theta = torch.stack([total - difference, total + difference], -1) / math.sqrt(2)
        kept.append(theta[(fold <= 0) & (theta.abs() <= 1).all(-1)])
    return torch.cat(kept)[:number]


def tempered(task: Task, x: Tensor) -> Tensor:
    """Return particles that moved from the prior to the posterior through powers of the likelihood.

    Proposals are differences of two other particles, which lead from mode to mode (ter Braak 2006).
    """
    theta = task.prior.sample((PARTICLES,))
    log_prior, log_likelihood = task.prior.log_prob(theta), task.log_likelihood(theta, x)
    power = 0.0
    while power < 1:
        rise = _rise(log_likelihood, 1 - power)
        power = min(power + rise, 1.0)
        weights = torch.softmax((rise * log_likelihood).double(), 0)
        chosen = _systematic(weights)
        state = theta[chosen], log_prior[chosen], log_likelihood[chosen]
        for index in range(MOVES if power < 1 else LAST):
            state = _moved(task, x, state, power, whole=index % 4 == 3)
        theta, log_prior, log_likelihood = state
    return theta


def _systematic(weights: Tensor) -> Tensor:
    """Return particles in proportion to their weights, with less noise than independent draws."""
    places = (torch.arange(len(weights)) + torch.rand(1)).double() / len(weights)
    return torch.searchsorted(weights.cumsum(0), places).clamp(max=len(weights) - 1)


def _rise(log_likelihood: Tensor, most: float) -> float:
    """Return the rise of the power that leaves an effective half of the particles."""

    def effective(rise: float) -> float:
        weights = torch.softmax((rise * log_likelihood).double(), 0)
        return 1 / float(weights.square().sum())

    if effective(most) > len(log_likelihood) / 2:
        return most
    low, high = 0.0, most
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) > len(log_likelihood) / 2 else (low, middle)
    return max(low, 1e-12)


def _moved(
    task: Task, x: Tensor, state: tuple[Tensor, ...], power: float, whole: bool
) -> tuple[Any, ...]:
    """Return the state after one Metropolis step of half of the particles, then the other half."""
    theta, log_prior, log_likelihood = (each.clone() for each in state)
    halves = torch.randperm(PARTICLES).chunk(2)
    for half, others in (halves, halves[::-1]):
        pairs = others[torch.randint(len(others), (2, len(half)))]
        # Whole differences lead from one mode to another, shorter ones explore each mode.
        length = 1.0 if whole else 2.38 / math.sqrt(2 * theta.shape[1]) * torch.rand(len(half), 1)
        jump = length * (theta[pairs[0]] - theta[pairs[1]])
        proposal = theta[half] + jump + 1e-4 * theta.std(0) * torch.randn_like(jump)
        inside = task.prior.support.check(proposal)
        safe = proposal.where(inside[:, None], theta[half])
        prior, likelihood = task.prior.log_prob(safe), task.log_likelihood(safe, x)
        gain = prior - log_prior[half] + power * (likelihood - log_likelihood[half])
        accepted = inside & (torch.rand(len(half)).log() < gain)
        own = half[accepted]
        theta[own] = safe[accepted]
        log_prior[own], log_likelihood[own] = prior[accepted], likelihood[accepted]
    return theta, log_prior, log_likelihood
