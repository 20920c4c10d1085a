"""The simulations and the observed data of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

try:
    import pandas as pd
except ImportError as error:
    raise ImportError('the data of a run need pandas: pip install "invflow[simulation]"') from error
import torch
from torch import Tensor
from torch.distributions import constraints

from invflow._tensors import digest
from invflow.density.table import read
from invflow.density.table.labels import columns_named
from invflow.density.table.source import blocks
from invflow.simulation import assess, text
from invflow.simulation.check import check
from invflow.simulation.config import Config
from invflow.simulation.prior import Prior
from invflow.simulation.simulations import Simulations

#: Simulations that a run needs, so that there are some to learn from, to stop and to judge by.
ENOUGH = 60
#: Different parameters that simulations to learn from need.
FEWEST = 10


@dataclass(frozen=True)
class Data:
    """What a run reads.

    Attributes:
        train: simulations to learn from, and to stop by.
        test: those that judge the posteriors.
        observed: the observed data, shape (observations, summaries).
        dropped: number of simulations with missing or infinite numbers that were left out.
        digests: of the two files.
    """

    train: Simulations
    test: Simulations
    observed: Tensor
    dropped: int
    digests: tuple[str, str]


def prior(config: Config) -> Prior:
    """Return the prior of a run.

    Raises:
        ValueError: if it is that of something else than a parameter.
    """
    if unknown := [name for name in config.prior if name not in config.parameters]:
        raise ValueError(
            f"--prior names {unknown[0]!r}, which is not among --parameters "
            f"{','.join(config.parameters)}"
        )
    return Prior(
        {
            name: text.prior(config.prior[name]) if name in config.prior else constraints.real
            for name in config.parameters
        }
    )


def load(config: Config, prior: Prior) -> Data:
    """Return what a run reads.

    Args:
        config: the settings.
        prior: of the parameters.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if one is damaged or of an unknown kind, has other columns than it should, or
            the simulations are too few or cannot be learned from.
    """
    paths = Path(config.simulations), Path(config.observed)
    table, observed = _table(config, paths[0]), _table(config, paths[1])
    if repeated := {name for name in config.parameters if config.parameters.count(name) > 1}:
        raise ValueError(f"--parameters names {min(repeated)!r} twice")
    _check_number(paths[0], len(table))
    dropped = list(columns_named("--drop", config.drop, list(table.columns)))
    whole = Simulations.from_table(table.drop(columns=dropped), config.parameters)
    kept = whole.finite() if config.invalid == "drop" else whole
    _check_number(paths[0], len(kept))
    check(kept, prior, are_vectors=True)  # before the rows are shuffled, which errors name
    # A table of whole rows, such as one simulation, has these too.
    observed = observed.drop(columns=[*dropped, *config.parameters], errors="ignore")
    held = _held(kept, max(assess.ENOUGH, round(config.test_fraction * len(kept))), config.seed)
    left = len(torch.unique(kept.parameters[~held], dim=0))
    if 2 * int(held.sum()) > len(kept) or left < FEWEST:
        raise ValueError(
            f"{paths[0]} has too few different parameters: simulations with the same ones stay "
            f"together, which leaves {int((~held).sum())} of {len(kept)} simulations to learn "
            f"from, with {left} different parameters; expected half of them, with {FEWEST} or more"
        )
    return Data(
        train=kept[~held],
        test=kept[held],
        observed=kept.observed(observed),
        dropped=len(whole) - len(kept),
        digests=(digest(paths[0]), digest(paths[1])),
    )


def _check_number(path: Path, number: int) -> None:
    if number < ENOUGH:
        raise ValueError(f"{path} has {number} simulations; a run takes {ENOUGH} or more")


def _held(simulations: Simulations, number: int, seed: int) -> Tensor:
    """Return which simulations judge the posteriors, at least a number of them, shape (rows,).

    Those with the same parameters stay together: none that judges was learned from.
    """
    _, kind = np.unique(simulations.parameters.numpy(), axis=0, return_inverse=True)
    place = np.random.default_rng([seed, 1]).permutation(kind.max() + 1)[kind.reshape(-1)]
    last = np.sort(place)[number - 1]
    return torch.from_numpy(place <= last)


def _table(config: Config, path: Path) -> pd.DataFrame:
    return pd.concat(list(blocks(read(path, config.reading)))).reset_index(drop=True)
