"""A flow of one thing given another, trained by maximum likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from invflow import _checks, flows, training
from invflow._modes import evaluating
from invflow.flows import Flow
from invflow.simulation.embeddings import size
from invflow.training.batches import generator

Report = Callable[[int, str], None]
#: Rows evaluated at once.
ROWS_AT_ONCE = 4096
#: Decay of the moving average of the weights, which takes out the noise of small data sets.
AVERAGING = 0.99
#: The largest number of updates by default is the larger of these updates and epochs.
STEPS, EPOCHS = 3000, 30
#: Below this number of simulations, a mixture of several flows is clearly better than one.
FEW, SEVERAL = 5000, 3


def _setting(default: Any, description: str, **known: Any) -> Any:
    return field(default=default, metadata={"description": description, **known})


_MODEL = {"group": "Model"}


@dataclass(frozen=True)
class Settings:
    """The flow, and how it is trained.

    Args:
        flow: name of the flow: "nsf", "maf", "iaf", "coupling-nsf", ...
        transforms: number of transforms; None for the flow's default.
        hidden_features: widths of the hidden layers.
        flow_options: further arguments of the flow.
        ensemble: number of flows, of which an equal mixture is the result; None for 3 below 5,000
            simulations, and 1 above.
        steps: largest number of updates; None for 3,000, or 30 epochs if that is more.
        batch_size: simulations per update.
        learning_rate: Adam's initial learning rate; it decays to zero along a cosine.
        validation_fraction: fraction of the simulations that decides when to stop.
        patience: stop after this many evaluations without improvement (0: never).
        accelerator: "cpu", "cuda", "auto", ... as in Lightning Fabric.

    Raises:
        TypeError: if a setting has the wrong type.
        ValueError: if a setting is out of range.
    """

    flow: str = _setting("nsf", "Flow: nsf, maf, iaf, coupling-nsf, gaussian, ...", **_MODEL)
    transforms: int | None = _setting(
        None, "Number of transforms.", shown="depends on the flow", **_MODEL
    )
    hidden_features: tuple[int, ...] | None = _setting(
        None, "Widths of the hidden layers.", shown="depends on the flow", metavar="N,...", **_MODEL
    )
    flow_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ensemble: int | None = _setting(
        None, "Number of flows that are mixed.", shown="3 below 5,000 simulations", **_MODEL
    )
    steps: int | None = _setting(
        None, "Maximum number of updates.", shown="3,000, or 30 epochs if that is more"
    )
    batch_size: int = _setting(128, "Simulations per update.")
    learning_rate: float = _setting(2e-3, "Learning rate at the start.")
    validation_fraction: float = _setting(
        0.1, "Fraction of the simulations that decides when to stop."
    )
    patience: int = _setting(10, "Stop after this many evaluations without improvement (0: never).")
    accelerator: str = _setting("cpu", "Device to train on: cpu, cuda or auto.")

    def __post_init__(self) -> None:
        counts = ("transforms", "ensemble", "steps", "batch_size")
        for name in counts:
            if getattr(self, name) is not None:
                _checks.settle(self, **{name: _checks.positive_integer(name, getattr(self, name))})
        if self.hidden_features is not None:
            widths = _checks.widths("hidden_features", self.hidden_features)
            _checks.settle(self, hidden_features=widths)
        _checks.settle(
            self,
            learning_rate=_checks.positive("learning_rate", self.learning_rate),
            validation_fraction=_checks.fraction("validation_fraction", self.validation_fraction),
            patience=_checks.positive_integer("patience", self.patience, minimum=0),
        )

    def members(self, simulations: int) -> int:
        """Return the number of flows for a number of simulations."""
        return self.ensemble or (SEVERAL if simulations < FEW else 1)

    def described(self) -> dict[str, Any]:
        """Return the name and arguments of the flow, as `flows.build` takes them."""
        found: dict[str, Any] = {"name": self.flow, **_checks.plain(self.flow_options)}
        for name in ("transforms", "hidden_features"):
            if getattr(self, name) is not None:
                found[name] = _checks.plain(getattr(self, name))
        return found


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
def described(networks: Sequence[Conditional], given: Tensor, embedding: Any) -> Tensor:
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
) -> None:
    """Train networks in place, and freeze them at the weights that are best on held-out rows.

    Args:
        networks: of an ensemble.
        value: standardised values, shape (rows, features).
        given: standardised others, shape (rows, *shape).
        held: which rows are held out, shape (rows,).
        settings: how to train.
        seed: of the batches.
        directory: for checkpoints, from which training resumes; None for none.
        report: called after every step.

    Raises:
        FloatingPointError: if the training diverges.
    """
    fabric = training.launch(settings.accelerator, 1, "32-true")
    value, given = value.float().to(fabric.device), given.float().to(fabric.device)
    held = held.to(fabric.device)
    known, others = (value[~held], given[~held]), (value[held], given[held])
    epoch = math.ceil(len(known[0]) / settings.batch_size)
    steps = settings.steps or max(STEPS, EPOCHS * epoch)

    def loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        # Dropout in an embedding draws from the global generator.
        with torch.random.fork_rng([] if rows.device.type == "cpu" else [rows.device]):
            torch.manual_seed(noise.initial_seed())
            return -model(known[0][rows], known[1][rows]).mean()

    def evaluate(model: nn.Module) -> dict[str, float]:
        parts = zip(*(each.split(ROWS_AT_ONCE) for each in others), strict=True)
        total = sum(float(model(*part).double().sum()) for part in parts)
        return {"loss": -total / len(others[0])}

    plan = training.Settings(
        steps=steps,
        batch_size=settings.batch_size,
        optimizer="adam",
        learning_rate=settings.learning_rate,
        schedule="cosine",
        weight_decay=0.0,
        averaging_decay=AVERAGING,
        max_gradient_norm=5.0,
        seed=seed,
        evaluate_every=min(steps, max(25, min(epoch, 500))),
        patience=settings.patience,
    )
    models = {f"flow-{k}": cast(nn.Module, each) for k, each in enumerate(networks)}
    training.fit(fabric, models, len(known[0]), loss, evaluate, plan, directory, report)
    for each in networks:
        each.cpu().eval().requires_grad_(False)
