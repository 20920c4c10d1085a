"""Priors as text, as the command line has them: normal:0:1, uniform:0:10, gamma:2:0.5, ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import distributions
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

#: By name, the distribution, and what its numbers are.
DISTRIBUTIONS: Mapping[str, tuple[Callable[..., Distribution], tuple[str, ...]]] = {
    "uniform": (distributions.Uniform, ("LOW", "HIGH")),
    "normal": (distributions.Normal, ("MEAN", "SD")),
    "lognormal": (distributions.LogNormal, ("LOGMEAN", "LOGSD")),
    "halfnormal": (distributions.HalfNormal, ("SCALE",)),
    "halfcauchy": (distributions.HalfCauchy, ("SCALE",)),
    "student": (distributions.StudentT, ("DF", "LOCATION", "SCALE")),
    "exponential": (distributions.Exponential, ("RATE",)),
    "gamma": (distributions.Gamma, ("SHAPE", "RATE")),
    "inversegamma": (distributions.InverseGamma, ("SHAPE", "SCALE")),
    "beta": (distributions.Beta, ("ALPHA", "BETA")),
}
#: Supports without a density.
CONSTRAINTS: Mapping[str, Constraint] = {
    "real": constraints.real,
    "positive": constraints.positive,
}
#: What there is to write.
FORMS = ", ".join(
    [*(":".join([name, *numbers]) for name, (_, numbers) in DISTRIBUTIONS.items()), *CONSTRAINTS]
)


def prior(text: str) -> Distribution | Constraint:
    """Return the distribution, or the constraint, that a text describes.

    Args:
        text: one of `FORMS`.

    Raises:
        ValueError: if it describes none.

    Example:
        >>> prior("gamma:2:0.5")
        Gamma(concentration: 2.0, rate: 0.5)
    """
    name, *given = text.strip().lower().split(":")
    if name in CONSTRAINTS and not given:
        return CONSTRAINTS[name]
    if name not in DISTRIBUTIONS:
        raise ValueError(f"a prior must be one of {FORMS}, got {text!r}")
    build, needed = DISTRIBUTIONS[name]
    try:
        numbers: list[Any] = [torch.tensor(float(each), dtype=torch.float64) for each in given]
        if len(numbers) != len(needed) or not all(map(torch.isfinite, numbers)):
            raise ValueError
        return build(*numbers, validate_args=True)
    except ValueError:
        form = ":".join([name, *needed])
        raise ValueError(f"a prior must be {form} with valid numbers, got {text!r}") from None
