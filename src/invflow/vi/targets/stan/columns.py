"""Stan's columns of numbers as named arrays."""

from __future__ import annotations

from collections.abc import Sequence


def places(names: Sequence[str]) -> dict[str, tuple[list[int], tuple[int, ...]]]:
    """Return the columns of each quantity, in the order of its shape, and that shape.

    Stan's names of numbers end in indices that start at one, the first index running fastest. What
    follows the indices is part of the name: parts of complex numbers, entries of tuples.

    Example:
        >>> places(["m.1.1", "m.2.1", "m.1.2", "m.2.2"])
        {'m': ([0, 2, 1, 3], (2, 2))}
    """
    entries: dict[str, list[tuple[tuple[int, ...], int]]] = {}
    for place, full in enumerate(names):
        name, *index = full.split(".")
        while not all(i.isdecimal() for i in index):
            name, index = f"{name}.{index[0]}", index[1:]
        entries.setdefault(name, []).append((tuple(int(i) - 1 for i in index), place))
    found: dict[str, tuple[list[int], tuple[int, ...]]] = {}
    for name, pairs in entries.items():
        shape = tuple(max(axis) + 1 for axis in zip(*(index for index, _ in pairs), strict=True))
        found[name] = [place for _, place in sorted(pairs)], shape
    return found
