"""The table of maps that can be named, and how one is named, described and rebuilt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from invflow import _checks
from invflow.univariate.base import Univariate

#: Every map that can be named. Add a class of your own here to use, save and load it.
UNIVARIATES: dict[str, type[Univariate]] = {}


def univariate(what: str | Mapping[str, Any] | Univariate) -> Univariate:
    """Return the univariate map that `what` describes.

    Args:
        what: a name in `UNIVARIATES`, a mapping with a "name" and the map's fields, or a map.

    Raises:
        ValueError: an unknown name, or a map whose class is not in `UNIVARIATES`.
        TypeError: none of these, or fields that the map does not have.

    Example:
        >>> univariate("affine")
        Affine(bound=5.0)
        >>> univariate({"name": "gated", "gate": 2.0})
        Gated(gate=2.0)
    """
    if isinstance(what, Univariate):
        if type(what) not in UNIVARIATES.values():
            raise ValueError(
                f"univariate: {type(what).__name__} has no name yet; "
                'add it first: invflow.univariate.UNIVARIATES["my-name"] = '
                f"{type(what).__name__}"
            )
        return what
    if isinstance(what, str):
        return UNIVARIATES[_checks.choice("univariate", what, UNIVARIATES)]()
    if isinstance(what, Mapping):
        fields = dict(what)
        return UNIVARIATES[_checks.choice("univariate", fields.pop("name", None), UNIVARIATES)](
            **fields
        )
    raise TypeError(
        f"univariate must be a name, a mapping or a Univariate, got {type(what).__name__}"
    )


def describe(map: Univariate) -> dict[str, Any]:
    """Return the mapping from which `univariate` rebuilds `map`."""
    name = next(name for name, kind in UNIVARIATES.items() if kind is type(map))
    return {"name": name, **map.config()}


def to_recipe(map: Univariate) -> str:
    """Return `map` as a string, for operators whose arguments are tensors and strings only."""
    return json.dumps(describe(map), sort_keys=True)


def from_recipe(recipe: str) -> Univariate:
    """Return the map of a string made by `to_recipe`."""
    return univariate(json.loads(recipe))
