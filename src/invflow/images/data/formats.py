"""The file formats of published data sets."""

from __future__ import annotations

import gzip
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invflow.images.data.images import Levels


def idx(path: Path) -> Levels:
    """Return the images of a compressed idx file, (count, 1, height, width).

    Raises:
        ValueError: if the file holds anything else.

    References:
        LeCun, Cortes and Burges, "The MNIST database of handwritten digits": a four-byte magic
        number, 0x08 for bytes and 3 for dimensions; sizes as big-endian integers; the entries.
    """
    content = gzip.decompress(path.read_bytes())
    if len(content) < 16 or content[:4] != b"\0\0\x08\x03":
        raise ValueError(f"{path} must be an idx file of bytes in three dimensions")
    count, height, width = struct.unpack(">3I", content[4:16])
    pixels = np.frombuffer(content, np.uint8, offset=16)
    if len(pixels) != count * height * width:
        raise ValueError(
            f"{path} must hold {count} images of {height} x {width}, got {len(pixels)} bytes"
        )
    return pixels.reshape(count, 1, height, width).copy()  # a copy, which is writable


def idx_labels(path: Path) -> NDArray[np.uint8]:
    """Return the labels of a compressed idx file, (count,).

    Raises:
        ValueError: if the file holds anything else.
    """
    content = gzip.decompress(path.read_bytes())
    if len(content) < 8 or content[:4] != b"\0\0\x08\x01":
        raise ValueError(f"{path} must be an idx file of bytes in one dimension")
    (count,) = struct.unpack(">I", content[4:8])
    if len(content) != 8 + count:
        raise ValueError(f"{path} must hold {count} labels, got {len(content) - 8} bytes")
    return np.frombuffer(content, np.uint8, offset=8)


def cifar(path: Path, batches: Sequence[str]) -> tuple[Levels, NDArray[np.uint8]]:
    """Return the images of batches in CIFAR-10's binary archive, and their labels.

    Args:
        path: the archive; nothing is unpacked to disk.
        batches: names of files in it.

    Returns:
        Images, (count, 3, 32, 32), and labels, (count,).

    Raises:
        ValueError: if a batch is missing or incomplete.

    References:
        Krizhevsky 2009, "Learning multiple layers of features from tiny images": each image is a
        byte for the label, then 1024 each for red, green and blue.
    """
    found: dict[str, Levels] = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name, file = member.name.rsplit("/", 1)[-1], archive.extractfile(member)
            if name in batches and file is not None:
                found[name] = np.frombuffer(file.read(), np.uint8)
    for name in batches:
        if name not in found or not len(found[name]) or len(found[name]) % 3073:
            raise ValueError(f"{path} must hold whole images of 3073 bytes in {name}")
    rows = np.concatenate([found[name] for name in batches]).reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


def frey(path: Path) -> Levels:
    """Return the images of the Frey faces' MATLAB file, (count, 1, 28, 20).

    Raises:
        ImportError: if SciPy is not installed.
        ValueError: if the file holds anything else.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError('freyfaces needs SciPy: pip install "invflow[images]"') from error
    content: dict[str, Any] = loadmat(path, variable_names=["ff"])
    columns = content.get("ff")
    if columns is None or columns.dtype != np.uint8 or columns.shape[0] != 28 * 20:
        raise ValueError(f"{path} must hold bytes ff of shape (560, count)")
    return columns.T.reshape(-1, 1, 28, 20)
