"""Modules that come with an extra."""

from __future__ import annotations

import importlib
from typing import Any


def required(module: str, extra: str) -> Any:
    """Return a module that an extra installs.

    Raises:
        ImportError: if it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f'this needs {package}: pip install "invflow[{extra}]"') from error


def installed(module: str) -> bool:
    """Return whether a module can be imported."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True
