"""The kinds of columns as users declare them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from invflow.density.table.labels import Label, column_label

#: The kinds that a name alone declares.
NAMED = ("continuous", "integer", "date", "categorical", "ordinal")
#: The kinds that may have bounds.
BOUNDED = ("continuous", "integer", "grid")


class Kind(NamedTuple):
    """The declared kind of a column.

    Attributes:
        name: one of `KINDS`.
        low: lower bound, None for none; excluded for continuous columns, included on a grid.
        high: upper bound, like `low`.
        step: of a grid.
        levels: of an ordinal column in their order; None for that of their values.
    """

    name: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    levels: tuple[Any, ...] | None = None

    @property
    def said(self) -> Any:
        """The kind in the form in which users declare it."""
        if self.levels is not None:
            return self.name, self.levels
        step = () if self.step is None else (self.step,)
        bounds = () if (self.low, self.high) == (None, None) else (self.low, self.high)
        return (self.name, *step, *bounds) if step or bounds else self.name


def check_kinds(kinds: Mapping[Any, Any], names: Sequence[Label]) -> dict[Label, Kind]:
    """Return the declared kinds of columns, by label.

    A kind is one of `NAMED`; (low, high), the open interval of a continuous column; a kind with
    both bounds, such as ("integer", 0, None) for counts; ("grid", step) or ("grid", step, low,
    high); or ("ordinal", levels), from the lowest to the highest.

    Raises:
        TypeError: if `kinds` is not a mapping.
        ValueError: if a column or kind is unknown, or bounds are invalid.

    Example:
        >>> found = check_kinds({"age": "integer", "rate": (0, 1)}, ["age", "rate", "sex"])
        >>> found["rate"].said
        ('continuous', 0.0, 1.0)
    """
    if not isinstance(kinds, Mapping):
        raise TypeError(f"kinds must be a mapping from columns to kinds, got {kinds!r}")
    checked: dict[Label, Kind] = {}
    for key, kind in kinds.items():
        name = column_label("kinds", key, names)
        if name in checked:
            raise ValueError(f"kinds declares the column {name!r} twice")
        checked[name] = _kind(name, kind)
    return checked


def _kind(name: Label, kind: Any) -> Kind:
    if isinstance(kind, str) and kind in NAMED:
        return Kind(kind)
    match list(cast(Sequence[Any], kind)) if isinstance(kind, list | tuple) else kind:
        case ["ordinal", list() | tuple() as levels]:
            return _ordinal(name, kind, levels)
        case ["grid", step]:
            return _bounded(name, kind, "grid", None, None, step)
        case ["grid", step, low, high]:
            return _bounded(name, kind, "grid", low, high, step)
        case [low, high] if not isinstance(low, str):
            return _bounded(name, kind, "continuous", low, high)
        case [str(what), low, high] if what in NAMED:
            return _bounded(name, kind, what, low, high)
        case _:
            raise _unknown(name, kind)


def _unknown(name: Label, kind: Any) -> ValueError:
    return ValueError(
        f"kinds must declare {name!r} as continuous, integer, date, categorical or ordinal, by its "
        "bounds (low, high), as ('grid', step), or as ('ordinal', levels) in their order, got "
        f"{kind!r}"
    )


def _ordinal(name: Label, kind: Any, levels: Sequence[Any]) -> Kind:
    if len(set(levels)) != len(levels) or len(levels) < 2:
        raise ValueError(
            f"kinds: the levels of {name!r} must be two or more different values, got {kind!r}"
        )
    return Kind("ordinal", levels=tuple(levels))


def _bounded(name: Label, kind: Any, what: str, low: Any, high: Any, step: Any = None) -> Kind:
    try:
        low, high, step = (None if each is None else float(each) for each in (low, high, step))
    except (TypeError, ValueError) as error:
        raise _unknown(name, kind) from error
    low, high = (None if low == -math.inf else low), (None if high == math.inf else high)
    least, most = (-math.inf if low is None else low), (math.inf if high is None else high)
    if not least < most:
        raise ValueError(f"kinds: the bounds of {name!r} must be in ascending order, got {kind!r}")
    if what not in BOUNDED and (low, high) != (None, None):
        raise ValueError(f"kinds: the {what} column {name!r} cannot have bounds, got {kind!r}")
    if what == "grid" and (step is None or not 0 < step < math.inf):
        raise ValueError(f"kinds: the step of {name!r} must be a positive number, got {kind!r}")
    whole = all(bound is None or bound.is_integer() for bound in (low, high))
    if what == "integer" and not whole:
        raise ValueError(
            f"kinds: the bounds of the integer column {name!r} must be whole numbers, got {kind!r}"
        )
    return Kind(what, low, high, step)
