"""The part of a data set that the name of a folder or an array means."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Words for each part.
WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
#: Words that may accompany them.
IMAGES = ("images", "image", "x", "data", "set")


def parts(where: object, names: Iterable[str]) -> dict[str, str]:
    """Return the name of each part among several names, in any case.

    Args:
        where: the file or folder, for the error.
        names: names of folders or arrays; those that do not name a part are ignored.

    Raises:
        ValueError: if two of them name the same part.

    Example:
        >>> parts("photos", ["Test", "valid", "x_train", "y_train", "testimonials"])
        {'test': 'Test', 'validation': 'valid', 'train': 'x_train'}
    """
    found: dict[str, str] = {}
    for name in names:
        words = _words(name)
        mentioned = mentioned_in(name)
        if len(mentioned) == 1 and all(word in IMAGES or _part(word) for word in words):
            (part,) = mentioned
            if part in found:
                raise ValueError(
                    f"{where} must hold each part under one name, got both {found[part]!r} and "
                    f"{name!r}"
                )
            found[part] = name
    return found


def mentioned_in(name: str) -> set[str]:
    """Return the parts that a name mentions, alone or among other words.

    Example:
        >>> mentioned_in("train2017"), mentioned_in("testimonials")
        ({'train'}, set())
    """
    return {part for part in map(_part, _words(name)) if part is not None}


def _words(name: str) -> list[str]:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", name)
    return [word.lower() for word in words]


def _part(word: str) -> str | None:
    return next((part for part, words in WORDS.items() if word in words), None)
