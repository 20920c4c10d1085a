"""The packages of the `density` extra."""

from __future__ import annotations

import importlib
from typing import Any


def required(module: str) -> Any:
    """Return a module of the `density` extra.

    Raises:
        ImportError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f'this needs {package}: pip install "invflow[density]"') from error
