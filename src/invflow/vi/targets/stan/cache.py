"""Where compiled programs are kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from invflow._extra import required
from invflow._files import replacing


def kept(made_from: tuple[str, ...], build: Callable[[Path], None], extra: str) -> Path:
    """Return the file of a compiled program, which is built if it is not there yet.

    The file appears whole or not at all. It is in the directory `INVFLOW_CACHE`, by default in the
    user's cache directory, and can be deleted at any time.

    Args:
        made_from: everything that the file depends on: program, versions, compiler.
        build: writes the file.
        extra: the extra that is needed to find the user's cache directory.

    Raises:
        OSError: if the file cannot be written.
    """
    digest = hashlib.sha256("\0".join(made_from).encode()).hexdigest()
    path = _folder(extra) / f"{digest[:32]}.so"
    if not path.is_file():
        with replacing(path) as temporary:
            build(temporary)
    return path


def _folder(extra: str) -> Path:
    chosen = os.environ.get("INVFLOW_CACHE")
    return Path(chosen or required("platformdirs", extra).user_cache_dir("invflow")) / "stan"
