"""Classes by name: how they are chosen, saved and found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TypeVar, cast

from invflow import _checks

KindT = TypeVar("KindT", bound=Callable[..., Any])

_ALL: list[Registry[Any]] = []


class Registry(MutableMapping[str, KindT]):
    """A dictionary of classes that knows their names too.

    A class has the name under which it is registered. A subclass does not inherit the name: saved
    under its parent's name, it would be loaded as its parent. The names of the library's own
    classes cannot be reassigned, because saved files rely on them.

    Args:
        what: the argument that takes the names, for errors.
        place: where to find the registry, for errors.
        base: common base of the classes.

    Example:
        >>> numbers = Registry[type]("number", "numbers", object)
        >>> numbers["integer"] = int
        >>> numbers.choose("integer"), numbers.name_of(int), numbers.name_of(bool)
        (<class 'int'>, 'integer', None)
    """

    def __init__(self, what: str, place: str, base: type) -> None:
        self._what, self._place, self._base = what, place, base
        self._kinds: dict[str, KindT] = {}
        _ALL.append(self)

    def __getitem__(self, name: str) -> KindT:
        return self._kinds[name]

    def __setitem__(self, name: str, kind: KindT) -> None:
        """Register a class under a name.

        Raises:
            TypeError: if the name is not a string, or the kind is not a class that belongs here.
            ValueError: if a class of the library has the name.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a {self._what} must be a string, got {name!r}")
        what = f"{self._place}[{name!r}]"
        if not (isinstance(cast(Any, kind), type) and self.could_name(cast(type, kind))):
            raise TypeError(
                f"{what} must be a class derived from {self._base.__name__}, got {kind!r}"
            )
        before = self._kinds.get(name)
        if before is not None and is_own(before) and not is_own(kind):
            raise ValueError(
                f"{what} is the name of the library's own {before.__name__}: choose another one"
            )
        self._kinds[name] = kind

    def __delitem__(self, name: str) -> None:
        del self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def __repr__(self) -> str:
        return f"{self._place}: {', '.join(self._kinds)}"

    def choose(self, name: Any) -> KindT:
        """Return the class with a name.

        Raises:
            ValueError: if nothing has this name.
        """
        return self._kinds[_checks.choice(self._what, name, self._kinds)]

    def name_of(self, kind: Any) -> str | None:
        """Return the name of exactly this class; None if it has none."""
        return next((name for name, each in self._kinds.items() if each is kind), None)

    def could_name(self, kind: type) -> bool:
        """Return whether a class could be registered here."""
        return issubclass(kind, self._base)

    def line(self, kind: type) -> str:
        """Return the line of Python that registers a class."""
        return f'{self._place}["my-name"] = {kind.__name__}'


def is_own(kind: Callable[..., Any]) -> bool:
    """Return whether a class is the library's own; others may change while a program runs."""
    return kind.__module__.partition(".")[0] == "invflow"


def registering(kind: type) -> str | None:
    """Return the line of Python that registers a class; None if no registry takes it."""
    return next((each.line(kind) for each in _ALL if each.could_name(kind)), None)
