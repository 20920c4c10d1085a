"""The table of named maps: how a map is named, described and rebuilt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from invflow._held import Held
from invflow._registry import Registry, is_own
from invflow.univariate.base import Univariate

#: Every map that has a name; register your own here to be able to save it.
UNIVARIATES = Registry[type[Univariate]]("univariate", "invflow.univariate.UNIVARIATES", Univariate)
#: Maps of classes from outside the library.
_OTHERS: Held[Univariate] = Held()


def univariate(what: str | Mapping[str, Any] | Univariate) -> Univariate:
    """Return the univariate map that `what` describes.

    Args:
        what: a name in `UNIVARIATES`, a mapping with a "name" and the map's fields, or a map.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `what` is none of these, or the map does not have a field.

    Example:
        >>> univariate("affine")
        Affine(bound=5.0)
        >>> univariate({"name": "gated", "gate": 2.0})
        Gated(gate=2.0)
    """
    if isinstance(what, Univariate):
        return what
    if isinstance(what, str):
        return UNIVARIATES.choose(what)()
    if isinstance(what, Mapping):
        fields = dict(what)
        return UNIVARIATES.choose(fields.pop("name", None))(**fields)
    raise TypeError(
        f"univariate must be a name, a mapping or a Univariate, got {type(what).__name__}"
    )


def describe(map: Univariate) -> dict[str, Any] | Univariate:
    """Return the mapping from which `univariate` rebuilds a map, or a nameless map itself."""
    name = UNIVARIATES.name_of(type(map))
    return map if name is None else {"name": name, **map.config()}


def to_recipe(map: Univariate) -> str:
    """Return `map` as a string, for operators that take only tensors and strings.

    Only the library's own classes are identified by name. Another class may have no name, may be
    redefined under the same name, or may have fields that JSON cannot represent.
    """
    described = describe(map) if is_own(type(map)) else map
    return _OTHERS.string(map) if described is map else json.dumps(described, sort_keys=True)


def from_recipe(recipe: str) -> Univariate:
    """Return the map for a string from `to_recipe`."""
    return univariate(json.loads(recipe)) if recipe.startswith("{") else _OTHERS[recipe]
