"""Images from folders of image files."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invflow.vae.data.images import Levels, Source

if TYPE_CHECKING:
    from PIL.Image import Image

# Named, since Pillow knows formats too that other programs are run for.
_FORMATS = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpeg", ".jpg"),
    "PNG": (".png",),
    "PPM": (".pgm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
_SUFFIXES = [suffix for suffixes in _FORMATS.values() for suffix in suffixes]
_BINARY = {"1"}
_GREY = {"1", "L", "LA"}
_COLOUR = {"P", "RGB", "RGBA", "CMYK", "YCbCr"}


def read(folder: Path) -> Source:
    """Return the images of all image files below a folder, in the order of their paths.

    Where there is a subfolder `train`, it and its neighbours `validation` (or `val`) and `test` are
    the parts, and nothing else is read.
    Hidden files are left out, and of several frames all but the first. Images are grey, one
    channel, where all of them are; otherwise red, green and blue. Levels are 256, or 2 where all
    files have one bit per pixel.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: no images, or of different sizes; one that is unreadable, that has more than 8
            bits per channel, or whose pixels are not all opaque.
    """
    files = {part: _files(place) for part, place in _places(folder).items()}
    modes = _modes(folder, [file for part in files.values() for file in part])
    mode = "1" if modes <= _BINARY else "L" if modes <= _GREY else "RGB"
    parts = {
        part: np.stack([_decoded(file, mode) for file in each]) for part, each in files.items()
    }
    return Source(
        parts["train"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        levels=2 if mode == "1" else 256,
        likelihood="bernoulli" if mode == "1" else "logistic",
    )


def _places(folder: Path) -> dict[str, Path]:
    """Return the folder of each part."""
    if not (folder / "train").is_dir():
        return {"train": folder}
    names = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
    return {part: folder / name for name, part in names.items() if (folder / name).is_dir()}


def _files(folder: Path) -> list[Path]:
    """Return the image files below a folder, sorted the same way on every system."""
    found = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES and path.is_file()
    }
    shown = [name for name in sorted(found) if not name.startswith(".") and "/." not in name]
    if not shown:
        raise ValueError(f"{folder} holds no image files ({' '.join(_SUFFIXES)})")
    return [found[name] for name in shown]


def _modes(folder: Path, files: Sequence[Path]) -> set[str]:
    """Return what kinds of pixels the files have, which must be of one size."""
    modes: set[str] = set()
    first: tuple[int, int] | None = None
    for file in files:
        with _reading(file) as image:
            mode, size = _mode(image), image.size
        first = first or size
        if size != first:
            raise ValueError(
                f"{folder} must hold images of one size (width x height), got "
                f"{files[0].relative_to(folder)} of {first[0]} x {first[1]} and "
                f"{file.relative_to(folder)} of {size[0]} x {size[1]}"
            )
        if mode not in _GREY | _COLOUR:
            raise ValueError(
                f"{file} must have 8 bits per channel, grey or colour, got Pillow's mode {mode!r}"
            )
        modes.add(mode)
    return modes


def _mode(image: Image) -> str:
    """Return what kind of pixels an image has, of which its head tells, unless by a palette."""
    if image.mode != "P":
        return image.mode
    red, green, blue = image.convert("RGB").split()
    return "L" if red == green == blue else "P"


def _decoded(file: Path, mode: str) -> Levels:
    """Return the levels of an image, (channels, height, width)."""
    with _reading(file) as image:
        opaque = not image.has_transparency_data or (
            np.asarray(image.convert("RGBA").getchannel("A")).min() == 255
        )
        pixels = np.asarray(image.convert(mode)).astype(np.uint8)
    if not opaque:
        raise ValueError(f"{file} must be opaque, got transparent pixels; give it a background")
    return np.moveaxis(np.atleast_3d(pixels), -1, 0)


@contextmanager
def _reading(file: Path) -> Generator[Image]:
    """Give an image to read from, whose faults are errors that name the file."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('image files need Pillow: pip install "invflow[vae]"') from error
    try:
        with Image.open(file, formats=list(_FORMATS)) as image:
            yield image
    except Exception as error:  # damaged bytes end in errors of many kinds
        raise ValueError(f"{file} is not a readable image") from error
