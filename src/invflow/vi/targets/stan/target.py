"""A Stan model as a target."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invflow.vi.targets.external import external
from invflow.vi.targets.stan import engines
from invflow.vi.targets.stan.columns import places
from invflow.vi.targets.stan.compiled import Compiled
from invflow.vi.targets.stan.program import data_text
from invflow.vi.targets.stan.program import program as program_of
from invflow.vi.targets.target import Target


def from_stan(
    program: str | Path,
    data: Mapping[str, Any] | str | Path | None = None,
    engine: str = "auto",
) -> StanTarget:
    """Return the posterior of a Stan program.

    The program is compiled by a C++ compiler, which takes about 20 seconds, and is kept for the
    next time. The density includes all constants that Stan computes. Stan leaves some out: a prior
    on a parameter with bounds is normalised on the whole real line unless `T[ , ]` truncates it (a
    half-Cauchy by `real<lower=0>` lacks log 2), and one on an `ordered` vector lacks the log of a
    factorial.

    Args:
        program: the path of a .stan file, or the program as text.
        data: values by name, or the path of a JSON file with them.
        engine: what compiles it: "bridgestan"; "httpstan", whose package contains all of Stan; or
            "auto", BridgeStan if its C++ sources are there, or else httpstan if it is installed.

    Raises:
        FileNotFoundError: if a file is missing.
        TypeError: if an argument has the wrong type, or JSON cannot hold the data.
        ValueError: if the program cannot be compiled, does not accept the data, or has no
            parameters, or the engine is unknown.
        ImportError: if the engine is not installed.
    """
    compiled = engines.named(engine)
    return StanTarget(compiled(program_of(program), data_text(data)))


class StanTarget(Target):
    """A Stan model on its unconstrained scale; made by `from_stan`.

    `constrain` gives parameters, transformed parameters and generated quantities. The random
    numbers of the latter are seeded by the vector, so that the same draw gives the same quantities.

    Args:
        compiled: the program with its data.

    Raises:
        ValueError: if it has no parameters.
    """

    caveat = (
        "The log evidence is that of the density as Stan defines it: priors on parameters with "
        "bounds are not normalised without T[ , ], nor are those on ordered and unit vectors."
    )

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self.dim = compiled.dim
        if not self.dim:
            raise ValueError("program must have a parameter, got none")
        self._places = places(compiled.names)

    def log_density(self, z: Tensor) -> Tensor:
        return external(self._compiled.gradients, z)

    def constrain(self, z: Tensor) -> dict[str, Tensor]:
        rows = z.detach().cpu().double().reshape(-1, self.dim).numpy()
        seeds = [zlib.crc32(row.tobytes()) for row in rows]
        values = torch.from_numpy(self._compiled.constrain(rows, seeds)).to(z)
        return {
            name: values[:, columns].reshape(*z.shape[:-1], *shape)
            for name, (columns, shape) in self._places.items()
        }

    def log_likelihood(self, z: Tensor) -> dict[str, Tensor]:
        """Return the quantities that are log likelihoods of observations by Stan's convention.

        They are called "log_lik", or begin with "log_lik_".

        Args:
            z: unconstrained, shape (batch, dim).

        Returns:
            Shape (batch, *shape) for each name.
        """
        return {
            name: value
            for name, value in self.constrain(z).items()
            if f"{name}_".startswith("log_lik_")
        }
