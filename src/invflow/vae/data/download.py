"""Downloads: once, and with a checksum."""

from __future__ import annotations

from pathlib import Path


def fetch(name: str, url: str, checksum: str) -> Path:
    """Return the file of a data set, downloaded where it is not in the cache yet.

    Args:
        name: of the data set.
        url: where the file is.
        checksum: what it must have: the algorithm, a colon, the digest in hexadecimal.

    Raises:
        ImportError: pooch is not installed.
        OSError: no connection, or another file than expected.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError(f'{name} needs pooch: pip install "invflow[vae]"') from error
    folder = Path(pooch.os_cache("invflow")) / name
    try:
        return Path(pooch.retrieve(url, checksum, url.rsplit("/", 1)[-1], folder))
    except (OSError, ValueError) as error:
        raise OSError(
            f"{name} could not be downloaded; give an .npz file or a folder of images instead: "
            f"{error}"
        ) from error
