"""A flow of one thing given another, trained by maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from invflow import flows, training
from invflow._modes import evaluating
from invflow._random import seeded
from invflow.flows import Flow
from invflow.simulation.embeddings import size
from invflow.simulation.settings import Settings
from invflow.training.batches import generator
from invflow.training.loop import Report

#: Rows evaluated at once.
ROWS_AT_ONCE = 4096
#: Decay of the moving average of the weights, which takes out the noise of small data sets.
AVERAGING = 0.99
#: The largest number of updates by default is the larger of these updates and epochs.
STEPS, EPOCHS = 3000, 150


class Conditional(nn.Module):
    """A flow of standardised values, given an embedding of standardised others.

    Args:
        embedding: of what is given.
        flow: with the embedding as context.
    """

    def __init__(self, embedding: nn.Module, flow: Flow) -> None:
        super().__init__()
        self.embedding = embedding
        self.flow = flow

    def forward(self, value: Tensor, given: Tensor) -> Tensor:
        """Return the log density of values, (rows, features), given others: shape (rows,)."""
        return self.flow(self.embedding(given), validate_args=False).log_prob(value)

    def context(self, given: Tensor) -> Tensor:
        """Return the embedding of any number of rows, shape (rows, features)."""
        return torch.cat([self.embedding(part) for part in given.split(ROWS_AT_ONCE)])


@torch.no_grad()
def features(networks: Sequence[Conditional], given: Tensor, embedding: Any) -> Tensor:
    """Return what describes data, (rows, *shape): what all networks see, (rows, features).

    Args:
        networks: of an ensemble.
        given: data at unit scale.
        embedding: None if all see the data as they are.
    """
    if embedding is None:
        return given
    with evaluating(*networks):
        return torch.cat([each.context(given.float()) for each in networks], -1)


def build(
    features: int,
    given: Tensor,
    embedding: Callable[[int], nn.Module],
    described: Mapping[str, Any],
    seed: int,
) -> Conditional:
    """Return an untrained network.

    Args:
        features: number of values, D.
        given: a few rows of what is given, standardised.
        embedding: returns the embedding for a seed.
        described: name and arguments of the flow.
        seed: of the initial weights.

    Raises:
        TypeError, ValueError: if the flow or the embedding does not fit.
    """
    network = embedding(seed)
    context = size(network, given)
    flow = flows.build(
        **described, features=features, context=context, generator=generator("cpu", seed, 1)
    )
    return Conditional(network, flow)


def train(
    networks: Sequence[Conditional],
    value: Tensor,
    given: Tensor,
    held: Tensor,
    settings: Settings,
    seed: int,
    directory: Path | None,
    report: Report,
    of: str,
) -> None:
    """Train networks in place, and freeze them at the weights that are best on held-out rows.

    Args:
        networks: of an ensemble.
        value: standardised values, shape (rows, features).
        given: standardised others, shape (rows, *shape).
        held: which rows each network is not trained on, shape (networks, rows), as many for each.
        settings: how to train.
        seed: of the batches.
        directory: for checkpoints, from which training resumes; None for none.
        report: called after every step.
        of: as for `training.fit`.

    Raises:
        FloatingPointError: if the training diverges.
        ValueError: if the directory holds checkpoints of another training.
    """
    fabric = training.launch(settings.accelerator, 1, "32-true")
    value, given = value.float().to(fabric.device), given.float().to(fabric.device)
    members = [
        _Member(each, value, given, out)
        for each, out in zip(networks, held.to(fabric.device), strict=True)
    ]
    count = int((~held[0]).sum())
    epoch = math.ceil(count / settings.batch_size)
    steps = settings.steps or max(STEPS, EPOCHS * epoch)

    def loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        # Dropout in an embedding draws from the global generator.
        with seeded(noise.initial_seed(), rows.device):
            return -model(rows).mean()

    def evaluate(model: nn.Module) -> dict[str, float]:
        return {"loss": -float(cast(_Member, model).held_out().mean())}

    plan = training.Settings(
        steps=steps,
        batch_size=settings.batch_size,
        optimizer="adamw",
        learning_rate=settings.learning_rate,
        schedule="cosine",
        weight_decay=settings.decay(len(value)),
        averaging_decay=0.0 if _normalises(networks) else AVERAGING,
        max_gradient_norm=5.0,
        seed=seed,
        evaluate_every=min(steps, max(25, min(epoch, 500))),
        patience=settings.patience,
    )
    models = {f"flow-{k}": cast(nn.Module, each) for k, each in enumerate(members)}
    training.fit(fabric, models, count, loss, evaluate, plan, directory, report, of=of)
    for each in networks:
        each.cpu().eval().requires_grad_(False)


class _Member(nn.Module):
    """A network and its rows: those it is trained on, and those held out."""

    def __init__(self, network: Conditional, value: Tensor, given: Tensor, held: Tensor) -> None:
        super().__init__()
        self.network = network
        self._known = value[~held], given[~held]
        self._held = value[held], given[held]

    def forward(self, rows: Tensor) -> Tensor:
        """Return the log density of some of the rows that it is trained on, (rows,)."""
        value, given = self._known
        return self.network(value[rows], given[rows])

    def held_out(self) -> Tensor:
        """Return the log density of the rows held out, (rows,), in double precision."""
        parts = zip(*(each.split(ROWS_AT_ONCE) for each in self._held), strict=True)
        return torch.cat([self.network(*part) for part in parts]).double()


def _normalises(networks: Sequence[Conditional]) -> bool:
    """Whether there are statistics of batches, which are not those of averaged weights."""
    parts = [part for each in networks for part in each.modules()]
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts)  # pyright: ignore[reportPrivateUsage]
