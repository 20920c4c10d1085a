"""One image file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from invflow.images.data import resize
from invflow.images.data.images import Levels

if TYPE_CHECKING:
    from PIL.Image import Image

# Listed, since Pillow also reads formats by running other programs.
_FORMATS = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpeg", ".jpg"),
    "PNG": (".png",),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
#: Suffixes of the files that can be read.
SUFFIXES = [suffix for suffixes in _FORMATS.values() for suffix in suffixes]
_GREY = {"1", "L", "LA"}
_COLOUR = {"P", "RGB", "RGBA", "CMYK", "YCbCr"}


class Picture(NamedTuple):
    """The image in a file.

    Attributes:
        levels: 0 and 1 for one bit per pixel, otherwise 0 .. 255, (channels, height, width).
        mode: "1" for one bit per pixel, "L" for grey, "RGB" for colour.
        frames: number of frames in the file; the levels are those of the first.
    """

    levels: Levels
    mode: str
    frames: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.levels.shape[2], self.levels.shape[1]


def read(file: Path) -> Picture:
    """Return the image in a file, rotated upright by its EXIF orientation.

    Raises:
        ImportError: if Pillow is not installed.
        ValueError: if the file cannot be read, has more than 8 bits per channel, or has transparent
            pixels.
    """
    with _reading(file) as image:
        mode, bits = image.mode, _bits(image)
    if mode not in _GREY | _COLOUR or bits > 8:
        got = f"{bits} bits" if bits > 8 else f"mode {mode}"
        raise ValueError(
            f"{file} must have 8 bits per channel, grey or colour, got {got}; convert it to 8-bit "
            "grey or RGB"
        )
    with _reading(file) as image:
        from PIL import ImageOps

        # The second image in a phone's photograph is a preview.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        opaque = not image.has_transparency_data or (
            np.asarray(image.convert("RGBA").getchannel("A")).min() == 255
        )
        upright = ImageOps.exif_transpose(_without_palette(image))
        kind = "1" if mode == "1" else "L" if upright.mode in _GREY else "RGB"
        pixels = np.asarray(upright.convert(kind)).astype(np.uint8)
    if not opaque:
        raise ValueError(f"{file} must be opaque, got transparent pixels; put it on a background")
    return Picture(np.moveaxis(np.atleast_3d(pixels), -1, 0), kind, frames)


def resized(picture: Picture, size: int) -> Picture:
    """Return a picture with its shorter side resized to `size` pixels and its centre cropped."""
    count = 2 if picture.mode == "1" else 256
    return picture._replace(levels=resize.resized(picture.levels, size, count))


def converted(picture: Picture, mode: str) -> Levels:
    """Return the levels of a picture in a given mode, (channels, height, width).

    Args:
        picture: a picture whose mode is part of `mode`.
        mode: the common mode of all pictures.
    """
    levels = picture.levels
    if picture.mode == "1" and mode != "1":
        levels = 255 * levels
    return np.repeat(levels, 3, 0) if mode == "RGB" and len(levels) == 1 else levels


def _without_palette(image: Image) -> Image:
    """Return the colours of an image with a palette, or its greys."""
    if image.mode != "P":
        return image
    colours = image.convert("RGB")
    red, green, blue = colours.split()
    return red if red == green == blue else colours


def _bits(image: Image) -> int:
    """Return the bits per channel in the file: 16 or 8. Pillow may keep only 8 of 16."""
    tiles: Any = getattr(image, "tile", ())
    for decoder, _, _, arguments in tiles:
        raw, *more = arguments if isinstance(arguments, tuple) else (arguments,)
        if re.search(";16[BLN]", str(raw)) or (decoder.startswith("ppm") and more[-1] > 255):
            return 16
    return 8


@contextmanager
def _reading(file: Path) -> Generator[Image]:
    """Open an image; errors name the file and the cause."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('image files need Pillow: pip install "invflow[images]"') from error
    try:
        # Given a path, Pillow would memory-map grey TIFF files, and rotate these wrongly.
        with file.open("rb") as content, warnings.catch_warnings():
            # Up to twice its limit Pillow only warns, and large photographs are normal.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(content, formats=list(_FORMATS)) as image:
                yield image
    except Exception as error:  # damaged bytes raise many kinds of errors
        raise ValueError(f"{file} cannot be read: {_cause(file, error)}") from error


def _cause(file: Path, error: Exception) -> str:
    """Return why an image cannot be read, in one line."""
    from PIL import Image, UnidentifiedImageError

    text = str(error).partition("\n")[0]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller"
    if isinstance(error, MemoryError):
        return "it does not fit in memory; make it smaller"
    if isinstance(error, UnidentifiedImageError):
        formats = ", ".join(_FORMATS)
        return f"it is not an image ({formats})" if file.stat().st_size else "it is empty"
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "it is truncated"
    return f"it is damaged ({text})" if text else "it is damaged"
