"""Learning posteriors from simulations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow._tensors import digest_of
from invflow.simulation.check import check
from invflow.simulation.distance import Reference
from invflow.simulation.embeddings import embedding as as_embedding
from invflow.simulation.learned import MODULE, Learned, digests
from invflow.simulation.network import Report, build, features, train
from invflow.simulation.nle import NLE
from invflow.simulation.npe import NPE
from invflow.simulation.prior import as_prior
from invflow.simulation.settings import Settings
from invflow.simulation.simulations import Simulations
from invflow.simulation.standard import Standard, bent
from invflow.simulation.widened import widen
from invflow.training.batches import generator
from invflow.training.progress import progress as bar

METHODS = ("npe", "nle")


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
            infinity, parameters lie outside the prior, summaries are constant or equal, or the
            directory holds checkpoints of another training.
        FloatingPointError: if the training diverges.

    Example:
        >>> from torch.distributions import Normal
        >>> from invflow.simulation import Prior
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
    held = _held(len(networks), len(simulations), settings.validation_fraction, seed)
    ready()
    shown = bar("training", settings.steps) if progress else nullcontext(report or _silent)
    with shown as told:
        place = None if directory is None else Path(directory)
        rows = {"parameters": z, "data": simulations.data}
        how = {"method": method, "flow": str(settings.described())}
        of = "" if place is None else digest_of(rows, how)
        train(networks, value, given, held, settings, seed, place, told, of)
    widen(networks, value, given, held)
    with torch.no_grad():
        seen = x if method == "nle" else features(networks, given, embedding)
    learned = Learned(
        prior=prior,
        networks=networks,
        parameters=parameters,
        data=data,
        reference=Reference.of(seen, simulations.data, seed),
        shape=simulations.shape,
        summaries=simulations.summaries,
        seed=seed,
        flow=settings.described(),
        embedding=MODULE if isinstance(embedding, nn.Module) else embedding,
        rows=digests(simulations.parameters),
    )
    return NPE(learned) if method == "npe" else NLE(learned)


def _held(members: int, count: int, fraction: float, seed: int) -> Tensor:
    """Return which simulations each flow is not trained on, shape (members, count).

    These are others for each flow, as far as there are enough: the mixture learns from all.
    """
    number = min(max(1, round(fraction * count)), count - 1)
    order = torch.randperm(count, generator=generator("cpu", seed, 2))
    places = torch.arange(members * number).reshape(members, number) % count
    return torch.zeros(members, count, dtype=torch.bool).scatter(1, order[places], True)


def _seed(seed: int, k: int) -> int:
    return int(torch.randint(2**31, (), generator=generator("cpu", seed, 3, k)))


def _silent(step: int, line: str) -> None:
    """Report nothing."""
