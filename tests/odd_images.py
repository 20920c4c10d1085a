"""A folder of images as people have them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

#: Height and width of the pictures, where not said otherwise.
HIGH, WIDE = 48, 40


def _scene(seed: int, high: int = HIGH, wide: int = WIDE) -> Image.Image:
    """Return a bright disc on a dark ramp, in colours; the disc is in the upper left."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:high, 0:wide]
    inside = (y - 0.35 * high) ** 2 + (x - 0.35 * wide) ** 2 < (0.25 * min(high, wide)) ** 2
    ramp = 60 * y / high
    channels = [np.where(inside, 255 - 80 * rng.random(), ramp + 40 * k) for k in range(3)]
    return Image.fromarray(np.stack(channels, -1).clip(0, 255).astype(np.uint8))


def _grey(seed: int) -> Image.Image:
    return _scene(seed).convert("L")


def _with_alpha(seed: int, alpha: int, mode: str) -> Image.Image:
    image = _scene(seed).convert("L" if mode == "LA" else "RGB").convert(mode)
    image.putalpha(alpha)
    return image


def _png(head: bytes) -> bytes:
    """Return a PNG file with a header and almost no pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + name + content + checksum

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def _half(path: Path) -> None:
    content = io.BytesIO()
    _scene(1, 200, 200).save(content, "JPEG", quality=95)
    path.write_bytes(content.getvalue()[: len(content.getvalue()) // 2])


def _upside_down(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    _scene(5).rotate(180).save(path, exif=exif)


def _sideways(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _scene(6).rotate(90, expand=True).save(path, exif=exif)


def _animated(path: Path) -> None:
    _scene(7).save(path, save_all=True, append_images=[_scene(8), _scene(9)])


Write = Callable[[Path], object]

#: Files that can be used.
GOOD: dict[str, Write] = {
    "rgb.png": lambda path: _scene(0).save(path),
    "photo.jpg": lambda path: _scene(1).save(path),
    "photo.JPEG": lambda path: _scene(2).save(path, "JPEG"),
    "cmyk.jpg": lambda path: _scene(3).convert("CMYK").save(path),
    "cmyk.tif": lambda path: _scene(4).convert("CMYK").save(path),
    "exif-upside-down.jpg": _upside_down,
    "exif-sideways.jpg": _sideways,
    "animated.gif": _animated,
    "palette.png": lambda path: _scene(10).quantize(16).save(path),
    "grey.png": lambda path: _grey(11).save(path),
    "one-bit.png": lambda path: _grey(12).convert("1").save(path),
    "one-bit.tiff": lambda path: _grey(13).convert("1").save(path),
    "opaque-alpha.png": lambda path: _with_alpha(14, 255, "RGBA").save(path),
    "opaque-grey-alpha.png": lambda path: _with_alpha(15, 255, "LA").save(path),
    "web.webp": lambda path: _scene(16).save(path),
    "windows.bmp": lambda path: _scene(17).save(path),
    "plain.ppm": lambda path: _scene(18).save(path),
    "ycbcr.tif": lambda path: _scene(19).convert("YCbCr").save(path),
    "wide.png": lambda path: _scene(20, 50, 300).save(path),
    "tall.png": lambda path: _scene(21, 300, 20).save(path),
    "one-pixel.png": lambda path: Image.new("RGB", (1, 1), (200, 30, 30)).save(path),
    "deeper/below.png": lambda path: _scene(22).save(path),
}
#: Files that cannot, and why.
BAD: dict[str, tuple[Write, str]] = {
    "half.jpg": (_half, "it is truncated"),
    "empty.png": (lambda path: path.write_bytes(b""), "it is empty"),
    "text.png": (lambda path: path.write_text("hello"), "it is not an image"),
    "bomb.png": (
        lambda path: path.write_bytes(_png(struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))),
        "it has more than 178,956,970 pixels; make it smaller",
    ),
    "deep.png": (
        lambda path: Image.fromarray(np.full((HIGH, WIDE), 40_000, np.uint16)).save(path),
        "8 bits per channel, grey or colour, got 16 bits; convert it",
    ),
    "float.tiff": (
        lambda path: Image.fromarray(np.ones((HIGH, WIDE), np.float32)).save(path),
        "8 bits per channel, grey or colour, got mode F; convert it",
    ),
    "glass.png": (
        lambda path: _with_alpha(23, 100, "RGBA").save(path),
        "must be opaque, got transparent pixels; put it on a background",
    ),
    "grey-glass.png": (lambda path: _with_alpha(24, 100, "LA").save(path), "must be opaque"),
    "palette-hole.png": (
        lambda path: _scene(25).quantize(16).save(path, transparency=0),
        "must be opaque",
    ),
}
#: Files that are ignored without a line.
HIDDEN = (".hidden.png", "._photo.jpg", "Thumbs.db", ".DS_Store")


def write(folder: Path) -> None:
    """Write all of them, and two files that are not images."""
    (folder / "deeper").mkdir(parents=True)
    for name, each in GOOD.items():
        each(folder / name)
    for name, (each, _) in BAD.items():
        each(folder / name)
    for name in HIDDEN:
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / "notes.txt").write_text("where they were taken")
    (folder / "labels.csv").write_text("file,label\n")
