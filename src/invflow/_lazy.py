"""Parts of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def attached(
    package: str, parts: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    Args:
        package: its name.
        parts: the modules that it has, each with the extra that it needs.

    Example:
        >>> ask, listed = attached("invflow", {"vi": "vi"})
        >>> ask("vi").__name__, "vi" in listed()
        ('invflow.vi', True)
    """

    def ask(name: str) -> Any:
        if name not in parts:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return importlib.import_module(f"{package}.{name}")
        except ModuleNotFoundError as error:
            if "invflow[" in str(error) or str(error.name).startswith("invflow"):
                raise
            raise ImportError(
                f'{package}.{name} needs {error.name}: pip install "invflow[{parts[name]}]"'
            ) from error

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *parts})

    return ask, listed
