"""What a subclass computes in another way than the class whose fast sweeps it would inherit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

#: The special methods that change what is computed.
_CALLS = frozenset(("__call__", "__getattr__", "__getattribute__"))


def overridden(what: Any, base: type, until: type, silent: Collection[str] = ()) -> list[str]:
    """Return the names of what an object computes differently from objects of one of its classes.

    Names that the class does not have do not matter, as it never uses them.

    Args:
        what: the object.
        base: the class.
        until: the first of its ancestors whose names do not change what is computed.
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
