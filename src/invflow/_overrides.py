"""What a subclass computes differently from the class whose fast sweeps it would inherit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

#: Special methods that affect what is computed.
_CALLS = frozenset(("__call__", "__getattr__", "__getattribute__"))


def overridden(what: Any, base: type, until: type, silent: Collection[str] = ()) -> list[str]:
    """Return the names in which an object overrides what objects of one of its classes compute.

    Names that the class does not have do not count, because it never uses them.

    Args:
        what: the object.
        base: the class.
        until: the first of its ancestors whose names do not affect what is computed.
        silent: further names that do not.
    """
    ancestors, own = base.__mro__, type(what).__mro__
    before = ancestors[: ancestors.index(until)]
    names = {name for each in before for name in vars(each) if not _special(name)} | _CALLS
    tensors = {*vars(what).get("_parameters", ()), *vars(what).get("_buffers", ())}
    found = {name for each in own[: own.index(base)] for name in vars(each)}
    return sorted((names | tensors) & found - set(silent))


def _special(name: str) -> bool:
    return name.startswith("__") or name == "_abc_impl"
