"""ArviZ, imported where it is used."""

from __future__ import annotations

import warnings
from typing import Any


def arviz() -> Any:
    """Return the module `arviz`.

    Raises:
        ImportError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Once a day it announces, on import, that it will change.
            warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
            import arviz
    except ImportError as error:
        raise ImportError('posteriors need ArviZ: pip install "invflow[vi]"') from error
    return arviz
