"""Tools that learn a posterior from simulations: each returns what draws for an observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from simulators.tasks import Task

#: Draws from the posterior of an observation, given the number and the observation.
Draw = Callable[[int, Tensor], Tensor]
#: The sizes of sbi's own flows.
SIZES: dict[str, Any] = {"transforms": 5, "hidden_features": (50, 50)}


def _npe(task: Task, theta: Tensor, x: Tensor, estimator: Any) -> Draw:
    """Train sbi's NPE, everything else at its default."""
    from sbi.inference import NPE

    inference = NPE(task.prior, density_estimator=estimator, show_progress_bars=False)
    inference.append_simulations(theta, x).train()
    posterior = inference.build_posterior()

    def draw(number: int, observed: Tensor) -> Tensor:
        return posterior.sample((number,), x=observed[None], show_progress_bars=False)

    return draw


def _ours_in_sbi(flow: str, *, bounded: bool = False) -> Callable[[Task, Tensor, Tensor], Draw]:
    from invflow.adapters.sbi import posterior_nn

    def train(task: Task, theta: Tensor, x: Tensor) -> Draw:
        support: dict[str, Any] = {}
        if bounded:
            support = {"z_score_theta": "transform_to_unconstrained", "x_dist": task.prior}
        return _npe(task, theta, x, posterior_nn(flow, **support, **SIZES))

    return train


def _theirs(model: str) -> Callable[[Task, Tensor, Tensor], Draw]:
    return lambda task, theta, x: _npe(task, theta, x, model)


def _simulation(task: Task, theta: Tensor, x: Tensor) -> Draw:
    from invflow import simulation

    prior = simulation.Prior({"theta": task.prior})
    posterior = simulation.fit(simulation.Simulations(theta, x), prior, seed=0).posterior

    def draw(number: int, observed: Tensor) -> Tensor:
        return posterior(observed).sample(number)

    return draw


TOOLS: dict[str, Callable[[Task, Tensor, Tensor], Draw]] = {
    "sbi MAF": _theirs("maf"),
    "sbi NSF": _theirs("nsf"),
    "zuko MAF in sbi": _theirs("zuko_maf"),
    "zuko NSF in sbi": _theirs("zuko_nsf"),
    "invflow MAF in sbi": _ours_in_sbi("maf"),
    "invflow NSF in sbi": _ours_in_sbi("nsf"),
    "invflow MAF in sbi, bounded": _ours_in_sbi("maf", bounded=True),
    "invflow.simulation": _simulation,
}
