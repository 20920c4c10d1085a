"""Downloads that are cached and checked against a checksum."""

from __future__ import annotations

from pathlib import Path


def fetch(name: str, url: str, checksum: str) -> Path:
    """Return the file of a data set, downloaded if it is not in the cache.

    Args:
        name: name of the data set.
        url: address of the file.
        checksum: the algorithm, a colon, and the digest in hexadecimal.

    Raises:
        ImportError: if pooch is not installed.
        OSError: if the download fails, or the checksum does not match.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError(f'{name} needs pooch: pip install "invflow[images]"') from error
    folder = Path(pooch.os_cache("invflow")) / name
    try:
        return Path(pooch.retrieve(url, checksum, url.rsplit("/", 1)[-1], folder))
    except (OSError, ValueError) as error:
        raise OSError(
            f"{name} could not be downloaded; give an .npz file or a folder of images instead: "
            f"{error}"
        ) from error
