"""Images from folders of image files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invflow.vae.data import picture
from invflow.vae.data.images import Levels, Source
from invflow.vae.data.parts import mentioned_in, parts
from invflow.vae.data.picture import SUFFIXES, Picture

#: What archives and file managers leave in folders, beside hidden files.
LEFT = ("__MACOSX", "Thumbs.db", "desktop.ini")
#: Number of names listed where there are more.
TOLD = 3


class Found(NamedTuple):
    """The files below a folder, in the order of their paths.

    Attributes:
        images: image files.
        others: other files, and links to nothing.
    """

    images: list[Path]
    others: list[Path]


def read(folder: Path) -> Source:
    """Return the images of all image files below a folder, in the order of their paths.

    Where there are subfolders for the parts, train, validation (or valid, val) and test, in any
    capitals, they are the parts, and nothing else is read. Each may have subfolders of its own.
    Hidden files are left out, and of several frames all but the first; links are followed, to each
    folder once. Photographs are turned as their cameras say. Images are grey, one channel, where
    all of them are; otherwise red, green and blue. Levels are 256, or 2 where all files have one
    bit per pixel. What is there and not read is told of by a warning.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: no images, or of different sizes; one that is unreadable, that has more than 8
            bits per channel, or whose pixels are not all opaque; subfolders that may be parts or
            not, or are parts without one to train on.
    """
    places = _places(folder)
    found = {part: _found(place) for part, place in places.items()}
    beside = _beside(folder, places)
    pictures = _pictures(folder, {part: each.images for part, each in found.items()})
    names = " or ".join(place.name for place in places.values())
    _tell(folder, beside, f"left out {{}} image(s) that are not in {names}")
    pooled = found["train"].images if places["train"] == folder else []
    named = [path for path in pooled if mentioned_in(path.stem)]
    if len({part for path in named for part in mentioned_in(path.stem)}) > 1:
        _tell(folder, named, "read as one part {} image(s) that are named like several")
    for part in found.values():
        _tell(folder, part.others, "left out {} file(s) that cannot be read as images")
    modes = {each.mode for part in pictures.values() for each in part}
    mode = "RGB" if "RGB" in modes else "L" if "L" in modes else "1"
    levels: dict[str, Levels] = {
        part: np.stack([picture.converted(each, mode) for each in several])
        for part, several in pictures.items()
    }
    return Source(
        levels["train"],
        validation=levels.get("validation"),
        test=levels.get("test"),
        levels=2 if mode == "1" else 256,
        likelihood="bernoulli" if mode == "1" else "logistic",
    )


def _places(folder: Path) -> dict[str, Path]:
    """Return the folder of each part.

    Raises:
        ValueError: there are parts, but none to train on, or it is not clear whether there are any.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and _is_shown(path.name))
    places = {part: folder / name for part, name in parts(folder, names).items()}
    places = places or {"train": folder}
    if "train" not in places:
        got = ", ".join(place.name for place in places.values())
        raise ValueError(
            f"{folder} must hold a subfolder train beside others for parts, got {got} alone; "
            "to score the images of one part, give its own folder"
        )
    for part, place in places.items():
        _check_pooled(place, part)
    return places


def _beside(folder: Path, places: Mapping[str, Path]) -> list[Path]:
    """Return image files that are in none of the parts' folders.

    Raises:
        ValueError: there are some, and the only part is that to train on, so that its name may be
            that of a class of images.
    """
    if folder in places.values():
        return []
    beside = _found(folder, without=list(places.values())).images
    if beside and len(places) == 1:
        raise ValueError(
            f"{folder} holds images in {places['train'].name} and others beside it, "
            f"{_listed(folder, beside)}: move the others away if that folder is for training, and "
            "rename it if it is not"
        )
    return beside


def _check_pooled(folder: Path, part: str) -> None:
    """See that no folder further down looks like another part than the one that all are read as.

    Raises:
        ValueError: one does.
    """
    inner = {name for path in _found(folder).images for name in path.relative_to(folder).parts[:-1]}
    looks = {name: mentioned_in(name) for name in sorted(inner)}
    suspects = [name for name, mentioned in looks.items() if mentioned]
    if {each for name in suspects for each in looks[name]} - {part} and (
        len(suspects) > 1 or parts(folder, suspects)
    ):
        raise ValueError(
            f"{folder} holds folders that look like parts of a data set, {', '.join(suspects)}, "
            "but are not called train, validation and test, or not directly in it: rename or move "
            "them, or give one of them"
        )


def _found(folder: Path, without: Sequence[Path] = ()) -> Found:
    """Return the files below a folder, sorted the same way on every system.

    Args:
        folder: where to look.
        without: folders that are not looked into.
    """
    seen = {os.path.realpath(folder)}
    found: dict[str, Path] = {}
    for at, folders, files in os.walk(folder, followlinks=True):
        shown = [
            Path(at, name)
            for name in sorted(folders)
            if _is_shown(name) and Path(at, name) not in without
        ]
        # By the place itself, so that links make no circles.
        new = {os.path.realpath(path): path.name for path in reversed(shown)}
        folders[:] = sorted(name for place, name in new.items() if place not in seen)
        seen |= new.keys()
        paths = [Path(at, name) for name in files if _is_shown(name)]
        found |= {path.relative_to(folder).as_posix(): path for path in paths}
    ordered = [found[name] for name in sorted(found)]
    sorted_out = Found([], [])
    for path in ordered:
        readable = path.suffix.lower() in SUFFIXES and path.is_file()
        (sorted_out.images if readable else sorted_out.others).append(path)
    return sorted_out


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name not in LEFT


def _pictures(folder: Path, files: Mapping[str, Sequence[Path]]) -> dict[str, list[Picture]]:
    """Return the pictures of each part, which must be of one size."""
    first: tuple[Path, Picture] | None = None
    framed: list[Path] = []
    pictures: dict[str, list[Picture]] = {part: [] for part in files}
    for part, paths in files.items():
        if not paths:
            where = folder if len(files) == 1 else f"the part {part!r} of {folder}"
            raise ValueError(f"{where} holds no image files ({' '.join(SUFFIXES)})")
        for path in paths:
            read = picture.read(path)
            first = first or (path, read)
            if read.size != first[1].size:
                one, other = first[1].size, read.size
                raise ValueError(
                    f"{folder} must hold images of one size (width x height), got "
                    f"{first[0].relative_to(folder)} of {one[0]} x {one[1]} and "
                    f"{path.relative_to(folder)} of {other[0]} x {other[1]}"
                )
            framed += [path] * (read.frames > 1)
            pictures[part].append(read)
    _tell(folder, framed, "read only the first frame of {} file(s)")
    return pictures


def _tell(folder: Path, files: Sequence[Path], what: str) -> None:
    """Warn of files, if there are any.

    Args:
        folder: that they are in.
        files: what to warn of.
        what: was done with them, with a place for how many.
    """
    if files:
        # Not by `format`, as names of folders may hold braces.
        told = what.replace("{}", str(len(files)), 1)
        message = f"{folder}: {told}: {_listed(folder, files)}"
        warnings.warn(message, stacklevel=2)


def _listed(folder: Path, files: Sequence[Path]) -> str:
    names = [str(path.relative_to(folder)) for path in files[:TOLD]]
    return ", ".join(names) + (", ..." if len(files) > TOLD else "")
