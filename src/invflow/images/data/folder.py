"""Images from folders of image files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from invflow.images.data import picture
from invflow.images.data.images import Levels, Source
from invflow.images.data.parts import mentioned_in, parts
from invflow.images.data.picture import SUFFIXES, Picture

#: Files and folders that archives and file managers leave behind.
LEFTOVERS = ("__MACOSX", "Thumbs.db", "desktop.ini")
#: Largest number of names in a message, and of messages about single images.
MAX_LISTED, MAX_LINES = 3, 50


class Found(NamedTuple):
    """The files below a folder, in the order of their paths.

    Attributes:
        images: image files.
        others: other files, and broken links.
    """

    images: list[Path]
    others: list[Path]


def read(folder: Path, size: int | None = None) -> Source:
    """Return the images in all image files below a folder, in the order of their paths.

    Subfolders named train, validation (or valid, val) and test, in any case, are the parts, and
    nothing else is read. Each may have subfolders. Hidden files are ignored, as are all frames but
    the first; links are followed, to each folder once. Photographs are rotated upright (EXIF).
    Images are grey, with one channel, if all of them are; otherwise red, green and blue. There are
    256 levels, or 2 if all files have one bit per pixel. The folders directly in that of a part, if
    there are any, are the classes of the images below.

    Warns of files that are not images, and of each image that is left out because it cannot be
    read, has more than 8 bits per channel or has transparent pixels.

    Args:
        folder: the folder.
        size: resize and crop the images to this many pixels.

    Raises:
        ImportError: if Pillow is not installed.
        OSError: if a folder cannot be read.
        ValueError: if the folder or a part has no images that can be used, or they differ in size;
            if it is not clear whether subfolders are parts, or there is a test part but no training
            part.
    """
    places = _places(folder)
    found = {part: _found(place) for part, place in places.items()}
    beside = _beside(folder, places)
    pictures = _pictures(folder, {part: each.images for part, each in found.items()}, size)
    files = {part: list(each) for part, each in pictures.items()}
    names = " or ".join(place.name for place in places.values())
    _warn(folder, beside, f"ignored {{}} image(s) that are not in {names}")
    pooled = found["train"].images if places["train"] == folder else []
    named = [path for path in pooled if mentioned_in(path.stem)]
    if len({part for path in named for part in mentioned_in(path.stem)}) > 1:
        _warn(folder, named, "read as one part {} image(s) whose names suggest several")
    for part in found.values():
        _warn(folder, part.others, "ignored {} file(s) that are not images")
    modes = {each.mode for part in pictures.values() for each in part.values()}
    mode = "RGB" if "RGB" in modes else "L" if "L" in modes else "1"
    levels: dict[str, Levels] = {
        part: np.stack([picture.converted(each, mode) for each in several.values()])
        for part, several in pictures.items()
    }
    return Source(
        levels["train"],
        validation=levels.get("validation"),
        test=levels.get("test"),
        levels=2 if mode == "1" else 256,
        binary=mode == "1",
        labels=partial(_classes, places, files) if _has_classes(places, files) else None,
    )


def _has_classes(places: Mapping[str, Path], files: Mapping[str, Sequence[Path]]) -> bool:
    return any(path.parent != places[part] for part, paths in files.items() for path in paths)


def _classes(
    places: Mapping[str, Path], files: Mapping[str, Sequence[Path]]
) -> dict[str, NDArray[Any]]:
    """Return the class of each image: the folder that it is in, directly in that of its part.

    Raises:
        ValueError: if an image is not in such a folder.
    """
    classes: dict[str, NDArray[Any]] = {}
    for part, paths in files.items():
        if outside := [path for path in paths if path.parent == places[part]]:
            raise ValueError(
                f"{places[part]} must hold each image in the folder of its class, got "
                f"{_listed(places[part], outside)} outside of folders"
            )
        names = [path.relative_to(places[part]).parts[0] for path in paths]
        # Names that are not UTF-8 could not be written to a run.
        classes[part] = np.array([os.fsencode(name).decode("utf-8", "replace") for name in names])
    return classes


def _places(folder: Path) -> dict[str, Path]:
    """Return the folder of each part.

    Raises:
        ValueError: if there are parts but no training part, or the parts are not clear.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and _is_shown(path.name))
    places = {part: folder / name for part, name in parts(folder, names).items()}
    places = places or {"train": folder}
    if "train" not in places:
        got = ", ".join(place.name for place in places.values())
        raise ValueError(
            f"{folder} must hold a subfolder train beside the other parts, got only {got}; "
            "to score the images of one part, give the folder of that part"
        )
    for part, place in places.items():
        _check_pooled(place, part)
    return places


def _beside(folder: Path, places: Mapping[str, Path]) -> list[Path]:
    """Return the image files outside the folders of the parts.

    Raises:
        ValueError: if there are some and train is the only part: it may be a class of images.
    """
    if folder in places.values():
        return []
    beside = _found(folder, without=list(places.values())).images
    if beside and len(places) == 1:
        raise ValueError(
            f"{folder} holds images in {places['train'].name} and outside it, "
            f"{_listed(folder, beside)}: move the others away if that folder is the training part, "
            "or rename it if it is not"
        )
    return beside


def _check_pooled(folder: Path, part: str) -> None:
    """Check that no folder further down looks like another part.

    Raises:
        ValueError: if one does.
    """
    inner = {name for path in _found(folder).images for name in path.relative_to(folder).parts[:-1]}
    looks = {name: mentioned_in(name) for name in sorted(inner)}
    suspects = [name for name, mentioned in looks.items() if mentioned]
    if {each for name in suspects for each in looks[name]} - {part} and (
        len(suspects) > 1 or parts(folder, suspects)
    ):
        raise ValueError(
            f"{folder} holds folders that look like parts of a data set, {', '.join(suspects)}, "
            "but are not named train, validation and test, or are not directly in it: rename or "
            "move them, or give one of them"
        )


def _found(folder: Path, without: Sequence[Path] = ()) -> Found:
    """Return the files below a folder, sorted the same way on every system.

    Args:
        folder: where to look.
        without: folders to skip.

    Raises:
        OSError: if a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    seen = {os.path.realpath(folder)}
    found: dict[str, Path] = {}
    for at, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        shown = [
            Path(at, name)
            for name in sorted(folders)
            if _is_shown(name) and Path(at, name) not in without
        ]
        # By their real paths, so that links cannot form a loop.
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
    return not name.startswith(".") and name not in LEFTOVERS


def _pictures(
    folder: Path, files: Mapping[str, Sequence[Path]], size: int | None
) -> dict[str, dict[Path, Picture]]:
    """Return the pictures of each part, which must be of one size, by their files.

    Warns of each file that cannot be used, which is left out.
    """
    unusable: list[str] = []
    pictures: dict[str, dict[Path, Picture]] = {part: {} for part in files}
    for part, paths in files.items():
        for path in paths:
            try:
                read = picture.read(path)
            except ValueError as error:
                unusable.append(str(error))
            else:
                pictures[part][path] = read if size is None else picture.resized(read, size)
    for reason in unusable[:MAX_LINES]:
        warnings.warn(f"image left out: {reason}", stacklevel=2)
    if len(unusable) > MAX_LINES:
        more = len(unusable) - MAX_LINES
        warnings.warn(f"{folder}: {more} more image(s) left out", stacklevel=2)
    for part, paths in files.items():
        if not pictures[part]:
            where = str(folder) if len(files) == 1 else f"the part {part!r} of {folder}"
            if paths:
                raise ValueError(f"{where} has no image that can be used: {unusable[0]}")
            raise ValueError(f"{where} has no image files ({' '.join(SUFFIXES)})")
    whole = {path: each for part in pictures.values() for path, each in part.items()}
    _check_one_size(folder, whole)
    framed = [path for path, each in whole.items() if each.frames > 1]
    _warn(folder, framed, "read only the first frame of {} file(s)")
    return pictures


def _check_one_size(folder: Path, pictures: Mapping[Path, Picture]) -> None:
    """Check that all pictures have the size of the first."""
    first = next(iter(pictures))
    one = pictures[first].size
    for path, each in pictures.items():
        if each.size != one:
            raise ValueError(
                f"{folder}: images differ in size (width x height): "
                f"{first.relative_to(folder)} is {one[0]} x {one[1]}, "
                f"{path.relative_to(folder)} {each.size[0]} x {each.size[1]}; "
                f"set size (--size {min(one + each.size)}) to resize and crop them"
            )


def _warn(folder: Path, files: Sequence[Path], what: str) -> None:
    """Warn of files, unless the list is empty.

    Args:
        folder: the folder that holds them.
        files: the files.
        what: what was done with them, with {} for their number.
    """
    if files:
        # Not with `format`, since names of folders may contain braces.
        text = what.replace("{}", str(len(files)), 1)
        message = f"{folder}: {text}: {_listed(folder, files)}"
        warnings.warn(message, stacklevel=2)


def _listed(folder: Path, files: Sequence[Path]) -> str:
    names = [str(path.relative_to(folder)) for path in files[:MAX_LISTED]]
    return ", ".join(names) + (", ..." if len(files) > MAX_LISTED else "")
