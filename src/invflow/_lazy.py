"""Modules of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def attached(
    package: str, parts: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    `__getattr__` raises an `AttributeError` for an unknown name, and for a module that cannot be
    imported.

    Args:
        package: name of the package.
        parts: its modules, each with the extra that it needs.

    Example:
        >>> ask, listed = attached("invflow", {"vi": "vi"})
        >>> ask("vi").__name__, "vi" in listed()
        ('invflow.vi', True)
    """

    def ask(name: str) -> Any:
        if name not in parts:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        part = f"{package}.{name}"
        try:
            return importlib.import_module(part)
        except ImportError as error:
            remedy = f'pip install "invflow[{parts[name]}]"'
            # An AttributeError, so that `hasattr` and `help` work without the extra.
            raise AttributeError(
                f"{part} cannot be imported: {error}"
                + ("" if "pip install" in str(error) else f" ({remedy})")
            ) from error

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *parts})

    return ask, listed
