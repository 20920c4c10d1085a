"""The classes of images: their names, and the number of each image's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow.images.data.images import PARTS, WORD, Images, Source, divided
from invflow.images.data.named import NAMES

#: Largest number of names in a message.
MAX_LISTED = 10


def labelled(images: Images, source: Source, what: object) -> Images:
    """Return images with their labels and the names of their classes.

    The classes are those of the training images, sorted: integers by size, names by letters.

    Args:
        images: the images, split into parts.
        source: where they are from.
        what: the same as text, for errors.

    Raises:
        ValueError: if there are no labels, they do not fit the images, there is only one class, or
            one is not in the training part.
    """
    found = given(source, what)
    train, validation, test = divided(
        found["train"], found.get("validation"), found.get("test"), source.shuffled
    )
    classes = names(train)
    if len(classes) < 2:
        raise ValueError(
            f"{what} must hold images of at least two classes, got only {listed(classes)}"
        )
    labels = {"train": numbered(train, classes, what)}
    for part, values in (("validation", validation), ("test", test)):
        if missing := [name for name in names(values) if name not in classes]:
            raise ValueError(
                f"{what} holds {part} images of the class {missing[0]!r}, but no training images "
                "of it; add some, or remove the class"
            )
        labels[part] = numbered(values, classes, what)
    return dataclasses.replace(images, classes=classes, labels=labels)


def given(source: Source, what: object) -> Mapping[str, NDArray[Any]]:
    """Return the class of each image of a source, by part, as integers or names.

    Args:
        source: where the images are from.
        what: the same as text, for errors.

    Raises:
        ValueError: if there are no labels, or they do not fit the images.
    """
    if source.labels is None:
        if what in NAMES:
            raise ValueError(f"{what} has no classes; choose other images, or train without them")
        raise ValueError(
            f"{what} does not say the class of each image; put the images of each class into a "
            "folder named after it, or labels beside the images in an .npz file (labels; or "
            "train_labels and test_labels)"
        )
    found = source.labels()
    for part in PARTS:
        images, labels = getattr(source, part), found.get(part)
        counts = [0 if each is None else len(each) for each in (images, labels)]
        if counts[0] != counts[1]:
            raise ValueError(
                f"{what} must hold one label for each {WORD[part]} image, got {counts[1]} labels "
                f"for {counts[0]} images"
            )
    return found


def names(labels: NDArray[Any]) -> tuple[str, ...]:
    """Return the names of the classes that occur, sorted.

    Example:
        >>> names(np.array([10, 9, 10])), names(np.array(["b", "a"]))
        (('9', '10'), ('a', 'b'))
    """
    return tuple(str(each) for each in np.unique(labels))


def numbered(labels: NDArray[Any], classes: Sequence[str], what: object) -> Tensor:
    """Return the place of each label among the names of the classes, int64, (count,).

    Args:
        labels: integers or names, (count,).
        classes: the names of the classes.
        what: where the labels are from, for the error.

    Raises:
        ValueError: if a label is not among them.

    Example:
        >>> numbered(np.array([3, 3, 7]), ("3", "5", "7"), "photos.npz")
        tensor([0, 0, 2])
    """
    unique, places = np.unique(labels, return_inverse=True)
    numbers = {name: number for number, name in enumerate(classes)}
    if unknown := [str(each) for each in unique if str(each) not in numbers]:
        raise ValueError(
            f"{what} must hold only images of the classes of the model ({listed(classes)}), got "
            f"{unknown[0]!r}"
        )
    table = np.array([numbers[str(each)] for each in unique], np.int64)
    return torch.from_numpy(table[places.reshape(-1)])


def listed(classes: Sequence[str]) -> str:
    """Return the names of classes as text, the first of many."""
    shown = ", ".join(classes[:MAX_LISTED])
    return f"{shown}, ..." if len(classes) > MAX_LISTED else shown
