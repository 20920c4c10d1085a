"""Settings of a fit: the flow, and how it is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from invflow import _checks

#: Below this number of simulations, a mixture of several flows is clearly better than one.
FEW, SEVERAL = 20_000, 3
#: Weight decay, which is divided by the number of simulations and at most one.
DECAY = 50


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
        ensemble: number of flows, of which an equal mixture is the result; None for 3 below
            20,000 simulations, and 1 above.
        steps: largest number of updates; None for 3,000, or 150 epochs if that is more.
        batch_size: simulations per update.
        learning_rate: AdamW's initial learning rate; it decays to zero along a cosine.
        weight_decay: of AdamW; None for 50 divided by the number of simulations, 1 at most, and 0
            for "gaussian".
        validation_fraction: fraction of the simulations that each flow is not trained on: they
            decide when to stop, and how wide the densities must be.
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
        None, "Number of flows that are mixed.", shown="3 below 20,000 simulations", **_MODEL
    )
    steps: int | None = _setting(
        None, "Maximum number of updates.", shown="3,000, or 150 epochs if that is more"
    )
    batch_size: int = _setting(128, "Simulations per update.")
    learning_rate: float = _setting(2e-3, "Learning rate at the start.")
    weight_decay: float | None = _setting(
        None, "Weight decay of AdamW.", shown="50 divided by the number of simulations"
    )
    validation_fraction: float = _setting(
        0.1, "Fraction of the simulations held out, which decides when to stop, and the width."
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
        if self.weight_decay is not None:
            found = _checks.number("weight_decay", self.weight_decay)
            if not 0 <= found < math.inf:
                raise ValueError(f"weight_decay must be 0 or more and finite, got {found}")
        _checks.settle(
            self,
            learning_rate=_checks.positive("learning_rate", self.learning_rate),
            validation_fraction=_checks.fraction("validation_fraction", self.validation_fraction),
            patience=_checks.positive_integer("patience", self.patience, minimum=0),
        )

    def members(self, simulations: int) -> int:
        """Return the number of flows for a number of simulations."""
        return self.ensemble or (SEVERAL if simulations < FEW else 1)

    def decay(self, simulations: int) -> float:
        """Return the weight decay for a number of simulations."""
        if self.weight_decay is not None:
            return self.weight_decay
        # A Gaussian has nothing to learn by heart.
        return 0.0 if self.flow == "gaussian" else min(1.0, DECAY / simulations)

    def described(self) -> dict[str, Any]:
        """Return the name and arguments of the flow, as `flows.build` takes them."""
        found: dict[str, Any] = {"name": self.flow, **_checks.plain(self.flow_options)}
        for name in ("transforms", "hidden_features"):
            if getattr(self, name) is not None:
                found[name] = _checks.plain(getattr(self, name))
        return found
