"""Learning posteriors from simulations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow.simulation.distance import Reference
from invflow.simulation.embeddings import embedding as as_embedding
from invflow.simulation.learned import MODULE, Learned, digests
from invflow.simulation.learning import Report, Settings, build, described, train
from invflow.simulation.nle import NLE
from invflow.simulation.npe import NPE
from invflow.simulation.prior import Prior, as_prior
from invflow.simulation.simulations import Simulations, listed
from invflow.simulation.standard import Standard, bent
from invflow.training.batches import generator
from invflow.training.progress import progress as bar

METHODS = ("npe", "nle")
#: Simulations that a fit needs, so that some decide when to stop.
ENOUGH = 10


def fit(
    simulations: Simulations,
    prior: Any,
    *,
    method: str = "npe",
    embedding: str | nn.Module | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    progress: bool = False,
    report: Report | None = None,
    directory: str | Path | None = None,
    ready: Callable[[], None] = lambda: None,
) -> NPE | NLE:
    """Learn posteriors from simulations.

    "npe" learns the posterior itself, for any data, at the cost of one pass of a network each.
    "nle" learns the likelihood; the posterior of given data is then fitted by `invflow.vi.fit`,
    which takes seconds, takes any number of independent observations, and comes with the evidence
    and a verdict.

    Args:
        simulations: parameters from the prior, and their data.
        prior: a `Prior`, or the distribution or mapping that it is made of. "npe" needs only its
            bounds.
        method: "npe" or "nle".
        embedding: for "npe", the network that summarises the data: "perceptron", "lstm", "mean",
            "attention", "convolution" or a module, of which a copy is trained.
        settings: the flow, and how it is trained.
        seed: random seed; the same seed gives the same result on the same machine.
        progress: whether to show a progress bar.
        report: called with the number of steps and a line of text, instead of a bar.
        directory: of a run, for checkpoints, from which training resumes.
        ready: called once all arguments have been checked, before anything is written.

    Raises:
        ImportError: if Lightning Fabric is not installed.
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range, there are too few simulations, some have NaN or
            infinity, parameters lie outside the prior, or summaries are constant or equal.
        FloatingPointError: if the training diverges.

    Example:
        >>> from torch.distributions import Normal
        >>> prior = Prior({"mu": Normal(0.0, 1.0)})
        >>> mu = prior.sample(200)
        >>> simulations = Simulations(mu, mu + 0.1 * torch.randn(200, 1))
        >>> estimator = fit(simulations, prior, settings=Settings("gaussian", steps=50))
        >>> estimator.posterior([0.5]).sample(1000).shape
        torch.Size([1000, 1])
    """
    prior, settings = as_prior(prior), Settings() if settings is None else settings
    if not isinstance(simulations, Simulations):
        raise TypeError(f"simulations must be Simulations, got {type(simulations).__name__}")
    if not isinstance(settings, Settings):
        raise TypeError(f"settings must be Settings, got {type(settings).__name__}")
    _checks.choice("method", method, METHODS)
    seed = _checks.positive_integer("seed", seed, minimum=0)
    check(simulations, prior, are_vectors=method == "nle" or embedding is None)
    if method == "nle" and embedding is not None:
        raise ValueError('embedding must be None with method "nle", whose flow is over the data')
    z = prior.unconstrain(simulations.parameters)
    parameters = Standard.of(z)
    data = (Standard.robust if method == "npe" else Standard.of)(simulations.data)
    u, x = parameters.forward(z), data.forward(simulations.data)
    value, given = (u, bent(x)) if method == "npe" else (x, u)
    new = partial(as_embedding, embedding, tuple(given.shape[1:]))
    networks = [
        build(value.shape[-1], given[:2].float(), new, settings.described(), _seed(seed, k))
        for k in range(settings.members(len(simulations)))
    ]
    held = _held(len(simulations), settings.validation_fraction, seed)
    ready()
    shown = bar("training", settings.steps) if progress else nullcontext(report or _silent)
    with shown as told:
        place = None if directory is None else Path(directory)
        train(networks, value, given, held, settings, seed, place, told)
    with torch.no_grad():
        features = x if method == "nle" else described(networks, given, embedding)
    learned = Learned(
        prior=prior,
        networks=networks,
        parameters=parameters,
        data=data,
        reference=Reference.of(features, simulations.data, seed),
        shape=simulations.shape,
        summaries=simulations.summaries,
        seed=seed,
        flow=settings.described(),
        embedding=MODULE if isinstance(embedding, nn.Module) else embedding,
        rows=digests(simulations.parameters),
    )
    return NPE(learned) if method == "npe" else NLE(learned)


def check(simulations: Simulations, prior: Prior, *, are_vectors: bool) -> None:
    """See that simulations can be learned from.

    Args:
        simulations: parameters and data.
        prior: of the parameters.
        are_vectors: whether the data must be vectors of informative summaries.

    Raises:
        ValueError: if they cannot.
    """
    if len(simulations) < ENOUGH:
        raise ValueError(f"simulations must be at least {ENOUGH}, got {len(simulations)}")
    numbers = simulations.parameters.shape[1]
    if numbers != len(prior.names):
        raise ValueError(
            f"simulations must have a column for each number of the prior, {listed(prior.names)}, "
            f"got {numbers}"
        )
    if simulations.names and simulations.names != prior.names:
        raise ValueError(
            f"simulations have the parameters {listed(simulations.names)}, but the prior has "
            f"{listed(prior.names)}: give both in the same order"
        )
    if bad := _rows(~simulations.is_finite):
        raise ValueError(
            f"simulations must be finite, got NaN or infinity in {_where(bad)}: fix the simulator, "
            "or drop these with simulations.finite() or --invalid drop"
        )
    theta = simulations.parameters
    if bad := _rows(~prior.contains(theta)):
        raise ValueError(
            f"parameters must lie inside the prior, got some outside in {_where(bad)}: the first "
            f"are {_shown(theta[bad[0]], prior)}"
        )
    if bad := _rows(~prior.unconstrain(theta).isfinite().all(-1)):
        raise ValueError(
            f"parameters must not lie on the bound of a half line, got some in {_where(bad)}: the "
            f"first are {_shown(theta[bad[0]], prior)}"
        )
    if bad := _constant(theta, prior.names):
        raise ValueError(f"parameters must vary, got constant in all simulations: {listed(bad)}")
    if not are_vectors or simulations.data.ndim != 2:
        return
    x, names = simulations.data, simulations.summaries
    if bad := _constant(x, names):
        raise ValueError(
            f"summaries must vary, got constant in all simulations: {listed(bad)}; leave these "
            "out, with simulations.without or --drop"
        )
    first: dict[bytes, str] = {}
    for name, column in zip(names, x.T.contiguous().numpy(), strict=True):
        other = first.setdefault(column.tobytes(), name)
        if other != name:
            raise ValueError(
                f"summaries must differ, but {name} is equal to {other} in all simulations: leave "
                "one out, with simulations.without or --drop"
            )


def _rows(mask: Tensor) -> list[int]:
    return mask.nonzero()[:, 0].tolist()


def _where(rows: list[int]) -> str:
    return f"{'row' if len(rows) == 1 else f'{len(rows)} rows,'} {listed(rows)}"


def _constant(columns: Tensor, names: Sequence[str]) -> list[str]:
    same = (columns == columns[0]).all(0).tolist()
    return [name for name, each in zip(names, same, strict=True) if each]


def _shown(theta: Tensor, prior: Prior) -> str:
    return ", ".join(
        f"{name} = {value:.6g}" for name, value in zip(prior.names, theta.tolist(), strict=True)
    )


def _held(count: int, fraction: float, seed: int) -> Tensor:
    """Return which simulations decide when to stop, shape (count,)."""
    number = min(max(1, round(fraction * count)), count - 1)
    held = torch.zeros(count, dtype=torch.bool)
    held[torch.randperm(count, generator=generator("cpu", seed, 2))[:number]] = True
    return held


def _seed(seed: int, k: int) -> int:
    return int(torch.randint(2**31, (), generator=generator("cpu", seed, 3, k)))


def _silent(step: int, line: str) -> None:
    """Report nothing."""
