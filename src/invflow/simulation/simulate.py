"""Running a simulator at draws of the prior, in parallel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow import _checks
from invflow._extra import required
from invflow.simulation.prior import as_prior
from invflow.simulation.simulations import Simulations
from invflow.simulation.truncated import Truncated
from invflow.vi.targets.vectors import tensor

#: Takes parameters by name, and a random number generator; returns the data.
Simulator = Callable[[dict[str, Any], np.random.Generator], Any]


def simulate(
    simulator: Simulator, prior: Any, number: int, *, jobs: int = 1, seed: int = 0
) -> Simulations:
    """Return simulations at draws of a prior.

    Each simulation has its own random numbers, so that the same seed gives the same simulations
    whatever the number of jobs. A simulator of whole batches needs no help:
    `Simulations(theta, simulator(theta))` with `theta = prior.sample(number)`.

    Args:
        simulator: takes the parameters by name, as NumPy arrays or floats, and a random number
            generator of NumPy, and returns numbers, always in the same shape.
        prior: a `Prior`, or what it is made of, or `posterior.truncated()`.
        number: of simulations.
        jobs: number of processes; -1 for one per core.
        seed: random seed.

    Raises:
        ImportError: if there are several jobs and joblib is not installed.
        RuntimeError: if the simulator fails; the message has the parameters.
        ValueError: if the simulator returns different shapes.

    Example:
        >>> from torch.distributions import Uniform
        >>> def toss(parameters, random):
        ...     return random.binomial(10, parameters["p"], size=2)
        >>> simulate(toss, {"p": Uniform(0.0, 1.0)}, 20).data.shape
        torch.Size([20, 2])
    """
    number = _checks.positive_integer("number", number, minimum=2)
    prior = prior if isinstance(prior, Truncated) else as_prior(prior)
    theta = prior.sample(number, seed=seed)
    named = [
        {name: value.numpy() if value.ndim else float(value) for name, value in each.items()}
        for each in map(prior.split, theta)
    ]
    tasks = list(zip(named, np.random.SeedSequence([seed, 1]).spawn(number), strict=True))
    if jobs == 1:
        found = [_one(simulator, *task) for task in tasks]
    else:
        joblib = required("joblib", "simulation")
        run = joblib.delayed(_one)
        found = joblib.Parallel(n_jobs=jobs)(run(simulator, *task) for task in tasks)
    return Simulations(theta, _stacked(found), names=prior.names)


def _one(simulator: Simulator, parameters: dict[str, Any], seed: np.random.SeedSequence) -> Any:
    try:
        return simulator(parameters, np.random.default_rng(seed))
    except Exception as error:
        raise RuntimeError(
            f"the simulator failed at {parameters}: {type(error).__name__}: {error}"
        ) from error


def _stacked(found: list[Any]) -> Tensor:
    data = [tensor("what the simulator returns", each).double() for each in found]
    for i, each in enumerate(data):
        if each.shape != data[0].shape:
            raise ValueError(
                "the simulator must return the same shape every time, got "
                f"{tuple(data[0].shape)} and, in simulation {i}, {tuple(each.shape)}"
            )
    return torch.stack(data)
