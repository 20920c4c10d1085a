"""The likelihood of a model, by name or as an object."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from invflow import _checks
from invflow.vae.likelihoods.levels import LIKELIHOODS, Likelihood, SharedLogistic
from invflow.vae.likelihoods.normal import Normal

#: The likelihoods of real numbers, by name.
REAL = {"normal": Normal}


def as_likelihood(
    likelihood: str | Likelihood, levels: int, shape: Sequence[int] = (1, 1, 1)
) -> Likelihood:
    """Return the likelihood of images with `levels` grey levels.

    Args:
        likelihood: one of `LIKELIHOODS`, or of `REAL` for real numbers, or an object.
        levels: number of grey levels; 0 for real numbers.
        shape: channels, height and width of an image.

    Raises:
        TypeError: if a size is not an integer, or `likelihood` is neither a name nor an object.
        ValueError: if the name is unknown, a size is out of range, or the object has another
            number of levels or of features.

    Example:
        >>> as_likelihood("shared-logistic", levels=256, shape=(3, 8, 8)).raw_scale.shape
        torch.Size([3])
    """
    levels = _checks.positive_integer("levels", levels, minimum=0)
    if isinstance(likelihood, str):
        _check_levels(likelihood, levels)
        if likelihood in REAL:
            return REAL[likelihood](prod(shape))
        kind = LIKELIHOODS[_checks.choice("likelihood", likelihood, (*LIKELIHOODS, *REAL))]
        return SharedLogistic(levels, shape[0]) if kind is SharedLogistic else kind(levels)
    if not isinstance(likelihood, Likelihood):
        raise TypeError(
            f"likelihood must be a name or a Likelihood, got {type(likelihood).__name__}"
        )
    if likelihood.levels != levels:
        raise ValueError(
            f"likelihood must have {levels} levels, as the images have, got {likelihood.levels}"
        )
    if isinstance(likelihood, Normal) and likelihood.features != prod(shape):
        raise ValueError(
            f"likelihood must have {prod(shape)} features, as the images have, "
            f"got {likelihood.features}"
        )
    return likelihood


def described(likelihood: Likelihood) -> dict[str, Any]:
    """Return the name and the arguments of a likelihood, as `rebuilt` takes them.

    Raises:
        ValueError: if it has no name.
    """
    names = {kind: name for name, kind in {**LIKELIHOODS, **REAL}.items()}
    if type(likelihood) not in names:
        raise ValueError(
            f"likelihood: a {type(likelihood).__name__} has no name by which it could be rebuilt; "
            "save the model's state_dict() instead"
        )
    return {"name": names[type(likelihood)], **likelihood.options()}


def rebuilt(levels: int, name: str, **options: Any) -> Likelihood:
    """Return the likelihood that `described` describes.

    Raises:
        TypeError: if it does not have one of the options.
        ValueError: if the name is unknown, or a size is out of range.

    Example:
        >>> rebuilt(256, **described(as_likelihood("logistic-mixture", 256))).components
        5
    """
    _checks.choice("likelihood", name, (*LIKELIHOODS, *REAL))
    return REAL[name](**options) if name in REAL else LIKELIHOODS[name](levels, **options)


def _check_levels(likelihood: str, levels: int) -> None:
    """Check that a likelihood of real numbers has no levels, and that any other has some."""
    if likelihood in REAL and levels:
        raise ValueError(
            f"levels must be 0 for the likelihood {likelihood!r}, which is for real numbers, "
            f"got {levels}; for grey levels take 'gaussian'"
        )
    if likelihood in LIKELIHOODS and not levels:
        raise ValueError(
            f"levels must be at least 2 for the likelihood {likelihood!r}, got 0; for real numbers "
            "take 'normal'"
        )
