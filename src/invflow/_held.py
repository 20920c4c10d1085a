"""Objects identified by strings, for operators that take only tensors, numbers and strings.

Operators do not keep objects alive; their callers must.
"""

from __future__ import annotations

from itertools import count
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


class Held(Generic[T]):
    """Objects known only to this process, for as long as something else keeps them alive.

    Example:
        >>> class Thing: ...
        >>> held, thing = Held[Thing](), Thing()
        >>> held.string(thing), held.string(thing), held[held.string(thing)] is thing
        ('Thing:0', 'Thing:0', True)
    """

    def __init__(self) -> None:
        self._objects: WeakValueDictionary[str, T] = WeakValueDictionary()
        self._numbers = count()

    def string(self, what: T) -> str:
        """Return the string of an object, always the same one."""
        for string, each in self._objects.items():
            if each is what:
                return string
        string = f"{type(what).__qualname__}:{next(self._numbers)}"
        self._objects[string] = what
        return string

    def __getitem__(self, string: str) -> T:
        """Return the object of a string.

        Raises:
            RuntimeError: if it no longer exists.
        """
        try:
            return self._objects[string]
        except KeyError:
            raise RuntimeError(
                f"{string.partition(':')[0]} has been deleted, but code compiled from its "
                "transform needs it: keep the transform until the last gradient has been computed"
            ) from None
