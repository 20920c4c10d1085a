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
#: Words that say that an array holds labels.
LABELS = ("labels", "label", "y", "targets", "target", "classes", "class")


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
        mentioned = mentioned_in(name)
        if len(mentioned) == 1 and all(word in IMAGES or _part(word) for word in _words(name)):
            _add(where, found, mentioned, name)
    return found


def labels(where: object, names: Iterable[str]) -> dict[str, str]:
    """Return the name of the labels of each part among several names, in any case.

    Labels that do not name a part are those of the training part.

    Args:
        where: the file, for the error.
        names: names of arrays; those that are not named like labels are ignored.

    Raises:
        ValueError: if two of them are labels of the same part.

    Example:
        >>> labels("photos.npz", ["x_train", "y_train", "test_labels", "fine_labels"])
        {'train': 'y_train', 'test': 'test_labels'}
        >>> labels("photos.npz", ["images", "labels"])
        {'train': 'labels'}
    """
    found: dict[str, str] = {}
    for name in names:
        words, mentioned = _words(name), mentioned_in(name)
        others = [word for word in words if word not in LABELS]
        known = all(word in IMAGES or _part(word) for word in others)
        if len(others) < len(words) and len(mentioned) <= 1 and known:
            _add(where, found, mentioned or {"train"}, name)
    return found


def _add(where: object, found: dict[str, str], only: set[str], name: str) -> None:
    (part,) = only
    if part in found:
        raise ValueError(
            f"{where} must hold each part under one name, got both {found[part]!r} and {name!r}"
        )
    found[part] = name


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
