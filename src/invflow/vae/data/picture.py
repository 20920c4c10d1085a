"""One image file."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from invflow.vae.data.images import Levels

if TYPE_CHECKING:
    from PIL.Image import Image

# Named, since Pillow knows formats too that other programs are run for.
_FORMATS = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpeg", ".jpg"),
    "PNG": (".png",),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
#: Of the files that can be read.
SUFFIXES = [suffix for suffixes in _FORMATS.values() for suffix in suffixes]
_GREY = {"1", "L", "LA"}
_COLOUR = {"P", "RGB", "RGBA", "CMYK", "YCbCr"}


class Picture(NamedTuple):
    """An image as its file holds it.

    Attributes:
        levels: black and white 0 and 1, others 0 .. 255: (channels, height, width).
        mode: "1" for one bit per pixel, "L" for grey, "RGB" for colours.
        frames: how many the file has; the levels are of the first.
    """

    levels: Levels
    mode: str
    frames: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.levels.shape[2], self.levels.shape[1]


def read(file: Path) -> Picture:
    """Return the image of a file, turned as its camera says (EXIF).

    Raises:
        ImportError: Pillow is not installed.
        ValueError: it is unreadable, has more than 8 bits per channel, or is not all opaque.
    """
    with _reading(file) as image:
        mode, bits = image.mode, _bits(image)
    if mode not in _GREY | _COLOUR or bits > 8:
        raise ValueError(
            f"{file} must have 8 bits per channel, grey or colour, got Pillow's mode {mode!r} "
            f"of {bits} bits"
        )
    with _reading(file) as image:
        from PIL import ImageOps

        # The second image of a telephone's photograph is a preview.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        opaque = not image.has_transparency_data or (
            np.asarray(image.convert("RGBA").getchannel("A")).min() == 255
        )
        upright = ImageOps.exif_transpose(_without_palette(image))
        kind = "1" if mode == "1" else "L" if upright.mode in _GREY else "RGB"
        pixels = np.asarray(upright.convert(kind)).astype(np.uint8)
    if not opaque:
        raise ValueError(f"{file} must be opaque, got transparent pixels; give it a background")
    return Picture(np.moveaxis(np.atleast_3d(pixels), -1, 0), kind, frames)


def converted(picture: Picture, mode: str) -> Levels:
    """Return the levels of a picture among others, (channels, height, width).

    Args:
        picture: black and white, grey, or in colours.
        mode: that of all pictures together, which holds what each of them holds.
    """
    levels = picture.levels
    if picture.mode == "1" and mode != "1":
        levels = 255 * levels
    return np.repeat(levels, 3, 0) if mode == "RGB" and len(levels) == 1 else levels


def _without_palette(image: Image) -> Image:
    """Return the colours that the numbers of an image stand for, or its greys."""
    if image.mode != "P":
        return image
    colours = image.convert("RGB")
    red, green, blue = colours.split()
    return red if red == green == blue else colours


def _bits(image: Image) -> int:
    """Return 16 where a channel has more than 8 bits in the file, of which Pillow may keep 8."""
    tiles: Any = getattr(image, "tile", ())
    for decoder, _, _, arguments in tiles:
        raw, *more = arguments if isinstance(arguments, tuple) else (arguments,)
        if re.search(";16[BLN]", str(raw)) or (decoder.startswith("ppm") and more[-1] > 255):
            return 16
    return 8


@contextmanager
def _reading(file: Path) -> Generator[Image]:
    """Give an image to read from, whose faults are errors that name the file."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('image files need Pillow: pip install "invflow[vae]"') from error
    try:
        # Of a path, Pillow would map grey TIFF files into memory, and turn these wrongly.
        with file.open("rb") as content, Image.open(content, formats=list(_FORMATS)) as image:
            yield image
    except Exception as error:  # damaged bytes end in errors of many kinds
        raise ValueError(f"{file} is not a readable image") from error
