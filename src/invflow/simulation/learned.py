"""What a fit has learned, on disk and in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _saving, flows
from invflow._pretrained import check_finite
from invflow._sized import sized_by
from invflow.flows import Tempered
from invflow.simulation.check import check_names
from invflow.simulation.distance import Reference
from invflow.simulation.embeddings import embedding as as_embedding
from invflow.simulation.network import Conditional
from invflow.simulation.prior import Prior
from invflow.simulation.simulations import Simulations
from invflow.simulation.standard import Standard

#: What `config.json` says of an embedding that is a module of the user.
MODULE = "a module"


@dataclass(frozen=True)
class Learned:
    """An ensemble of conditional flows at unit scale, and what the simulations were like.

    Args:
        prior: of the parameters.
        networks: of the ensemble.
        parameters: location and scale of the unconstrained parameters.
        data: location and scale of the data.
        reference: what observed data are compared with.
        shape: of the data of a simulation.
        summaries: their names, if they are vectors.
        seed: random seed of draws.
        flow: name and arguments of each flow.
        embedding: name of the embedding; None if data are taken as they are.
        rows: digests of the parameters of the simulations, shape (simulations,), int64.
    """

    prior: Prior
    networks: Sequence[Conditional]
    parameters: Standard
    data: Standard
    reference: Reference
    shape: tuple[int, ...]
    summaries: tuple[str, ...]
    seed: int
    flow: dict[str, Any]
    embedding: str | None
    rows: Tensor

    def check(self, simulations: Simulations) -> None:
        """See that simulations can judge what was learned.

        Raises:
            ValueError: if their parameters or data are others, or some were learned from.
        """
        check_names(simulations, self.prior)
        known = set(self.rows.tolist())
        if count := sum(row in known for row in digests(simulations.parameters).tolist()):
            raise ValueError(
                f"simulations must not be those that were learned from, got {count} that were, of "
                f"{len(simulations)}: simulate others with another seed"
            )

    def log_prob(self, contexts: Iterable[Tensor], value: Tensor) -> Tensor:
        """Return the log density of the equal mixture of the flows, in double precision.

        Args:
            contexts: of each flow, (rows, numbers).
            value: shape (*batch, rows, numbers).
        """
        parts = [
            each.flow(context, validate_args=False).log_prob(value).double()
            for each, context in zip(self.networks, contexts, strict=True)
        ]
        return torch.stack(parts).logsumexp(0) - math.log(len(parts))

    def draws(self, contexts: Iterable[Tensor], n: int, random: torch.Generator) -> Tensor:
        """Return draws of the equal mixture of the flows, (n, rows, numbers), in double precision.

        Args:
            contexts: of each flow, (rows, numbers).
            n: number of draws for each row.
            random: random numbers.
        """
        parts = torch.stack(
            [
                each.flow(context, validate_args=False).sample((n,), generator=random)
                for each, context in zip(self.networks, contexts, strict=True)
            ]
        )
        flow_of = torch.randint(len(parts), (1, *parts.shape[1:3], 1), generator=random)
        return parts.gather(0, flow_of.expand(1, *parts.shape[1:]))[0].double()

    @property
    def scale(self) -> float | None:
        """By what the noise of all flows is multiplied; None if it has no centre."""
        base = self.networks[0].flow.base
        return base.temperature if isinstance(base, Tempered) else None

    def save(self, directory: Path, method: str) -> None:
        """Write `config.json` and `model.safetensors`; the prior is code, and is not saved."""
        config: dict[str, Any] = {
            "parameters": list(self.prior.names),
            "shape": list(self.shape),
            "summaries": list(self.summaries),
            "seed": self.seed,
            "embedding": self.embedding,
            "flow": self.flow,
            "scale": self.scale,
            "sizes": [(each.flow.features, each.flow.context) for each in self.networks],
        }
        state = {
            f"networks.{k}.{name}": value
            for k, each in enumerate(self.networks)
            for name, value in each.state_dict().items()
        }
        for part in ("parameters", "data", "reference"):
            for name, value in vars(getattr(self, part)).items():
                state[f"{part}.{name}"] = value
        state |= {"rows": self.rows, "probe": _probe(self.prior, self.parameters)}
        _saving.write(directory, method, config, state)


def load(
    directory: Path, method: str, prior: Prior, embedding: str | nn.Module | None = None
) -> Learned:
    """Return what was saved. No code from the files is run.

    Args:
        directory: where it was saved.
        method: "npe" or "nle".
        prior: the one it was fitted with.
        embedding: the module it was fitted with, if it was given as one.

    Raises:
        FileNotFoundError, OSError: if a file is missing or cannot be read.
        ValueError: if a file is damaged or of another kind, or the prior has other parameters.
    """
    saved = _saving.read(directory)
    if saved.model != method:
        raise ValueError(f"{directory} holds {saved.model!r}, expected {method!r}")
    config = saved.config
    with _saving.fitting(directory, f"an {method.upper()}"):
        if config["parameters"] != list(prior.names):
            raise ValueError(
                f"it was fitted with the parameters {', '.join(config['parameters'])}, but the "
                f"prior has {', '.join(prior.names)}"
            )
        if not config["sizes"]:
            raise ValueError("it has no networks")
        if config["embedding"] == MODULE and embedding is None:
            raise ValueError("embedding must be given: it was fitted with a module of your own")
        shape = tuple(map(int, config["shape"]))
        known = embedding if config["embedding"] == MODULE else config["embedding"]
        with torch.random.fork_rng(devices=[]), sized_by(saved.sizes, config):
            given = shape if method == "npe" else (prior.dim,)
            networks = [
                Conditional(
                    as_embedding(known, given, 0),
                    flows.build(**config["flow"], features=features, context=context),
                )
                for features, context in config["sizes"]
            ]
    state = saved.tensors()
    with _saving.fitting(directory, f"an {method.upper()}"):
        check_finite(state)
        for k, each in enumerate(networks):
            if config["scale"] is not None:
                each.flow.base = Tempered(each.flow.base, config["scale"])
            each.load_state_dict(_part(state, f"networks.{k}."))
            each.eval().requires_grad_(False)
        parameters = Standard(**_part(state, "parameters."))
        if not torch.allclose(state["probe"], _probe(prior, parameters)):
            raise ValueError("it was fitted with a prior that has other bounds")
        return Learned(
            prior,
            networks,
            parameters,
            Standard(**_part(state, "data.")),
            Reference(**_part(state, "reference.")),
            shape,
            tuple(map(str, config["summaries"])),
            int(config["seed"]),
            config["flow"],
            config["embedding"],
            state["rows"],
        )


def digests(parameters: Tensor) -> Tensor:
    """Return a number for each row of parameters, (rows, numbers), that tells it from others."""
    found = [
        int.from_bytes(blake2b(row.tobytes(), digest_size=8).digest(), "little", signed=True)
        for row in parameters.contiguous().numpy()
    ]
    return torch.tensor(found, dtype=torch.int64)


def _probe(prior: Prior, parameters: Standard) -> Tensor:
    """Return points that the bounds of a prior determine, (2, numbers)."""
    both = torch.stack([parameters.location, parameters.location + parameters.scale])
    return prior.constrain(both)[0]


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
