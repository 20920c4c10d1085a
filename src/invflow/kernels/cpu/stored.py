"""Machine code on disk: one file for a kernel, a precision and a processor.

Numba's own cache has one index for all versions of a function, which processes that compile at the
same time overwrite for each other. Here a file's name stands for all that its code depends on, the
file appears whole or not at all, and it carries a checksum. Where there is anything wrong with it,
or no place for it, the kernel is compiled in memory.
"""

# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false
from __future__ import annotations

import hashlib
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import types
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from invflow import _files


def folder() -> Path:
    """Return where machine code is kept: where NUMBA_CACHE_DIR says, or in the user's cache."""
    if told := os.environ.get("NUMBA_CACHE_DIR"):
        return Path(told) / "invflow"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "invflow"


def kernel(source: str) -> Callable[[Callable[[int], None]], Any]:
    """Return a decorator that compiles a kernel, a function of the address of its record.

    Args:
        source: stands for all that the code is made from, the precision included.
    """

    def compiled(run: Callable[[int], None]) -> Any:
        name = hashlib.sha256(source.encode()).hexdigest()[:16]
        run.__qualname__ = f"{run.__qualname__}_{name}"  # by which code is found once it is loaded
        signature = (types.int64,), types.void
        result: Any = CFunc(run, signature, locals={}, options={"error_model": "numpy"})
        result._cache = Stored(source)
        result.compile()
        return result

    return compiled


class Stored:
    """What Numba asks for machine code, and gives it to: a cache as its own are.

    Args:
        source: see `kernel`.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return a kernel's code, None where there is none that is whole."""
        target.refresh()
        try:
            path = self._path(target)
            if not path.exists():
                return None
            content = path.read_bytes()
            checksum, code = content[:32], content[32:]
            if hashlib.sha256(code).digest() != checksum:
                raise ValueError(f"{path} is damaged")
            return CompileResult._rebuild(target, *pickle.loads(code))
        except Exception as error:  # whatever it is, the code can be made anew
            _warn(error)
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a kernel's code, if there is a place for it."""
        try:
            code = dumps(result._reduce())
            with _files.replacing(self._path(result.target_context)) as temporary:
                temporary.write_bytes(hashlib.sha256(code).digest() + code)
        except Exception as error:  # a full disk, say: the code is there all the same
            _warn(error)

    def _path(self, target: Any) -> Path:
        """Return the file for this processor, and these versions of what makes the code."""
        versions = sys.version, numba.__version__, llvmlite.__version__
        parts = self._source, *versions, *target.codegen().magic_tuple()
        digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
        return folder() / f"{digest[:40]}.kernel"


def _warn(error: Exception) -> None:
    """Say what is wrong, once."""
    if _told():
        return
    _told().append(error)
    warnings.warn(
        "compiled kernels cannot be kept on disk, so that each process takes a while to compile "
        f"them: {error}. Set NUMBA_CACHE_DIR to a folder that can be written to",
        RuntimeWarning,
        stacklevel=2,
    )


@cache
def _told() -> list[Exception]:
    return []
