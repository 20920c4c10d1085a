"""The C library: found, checked and loaded when it is first needed."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import warnings
from functools import cache
from importlib import metadata
from typing import NamedTuple

import torch

from invflow.kernels import build
from invflow.kernels.cpu.record import Record

__all__ = ["address", "reason", "variant"]


class Kernels(ctypes.Structure):
    """The addresses of the kernels of one variant and precision: see `record.h`."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("map", "pull", "gradients", "rate")]


class Loaded(NamedTuple):
    """The chosen variant, and its kernels by bits of precision."""

    variant: str
    kernels: dict[int, Kernels]


def reason() -> str | None:
    """Return why the library cannot be used; None if it can.

    If it should be usable, the first call warns and says what to do.
    """
    found = _library()
    return found if isinstance(found, str) else None


def variant() -> str:
    """Return the variant that runs on this processor: "avx2", "avx512" or "neon"."""
    return _loaded().variant


@cache
def address(name: str, dtype: torch.dtype) -> int:
    """Return the address of a kernel.

    Args:
        name: "map", "pull" or "gradients", C functions of the address of a record; or "rate", which
            measures products (see `variant.c`).
        dtype: precision, single or double.
    """
    return getattr(_loaded().kernels[torch.finfo(dtype).bits], name)


def _loaded() -> Loaded:
    found = _library()
    if isinstance(found, str):
        raise RuntimeError(f"the compiled kernels cannot be used: {found}")
    return found


@cache
def _library() -> Loaded | str:
    """Return the loaded library, or why there is none."""
    wanted = os.environ.get("INVFLOW_KERNELS", "")
    if wanted == "off":
        return "INVFLOW_KERNELS=off"
    if not build.supported():
        return f"there are no kernels for {platform.system()} on {platform.machine()}"
    if wanted and wanted not in build.variants():
        names = ", ".join([*build.variants(), "off"])
        return _warned(f"INVFLOW_KERNELS must be one of {names}, got {wanted!r}", "Unset it")
    try:
        build.current(build.SOURCES, build.LIBRARY)
        library = _checked(ctypes.CDLL(str(build.LIBRARY)))
    except (build.BuildError, OSError, AttributeError) as error:
        return _warned(str(error), _remedy())
    if (name := library.invflow_variant()) is not None:
        found = {bits: library.invflow_kernels(bits).contents for bits in build.PRECISIONS.values()}
        return Loaded(name.decode(), found)
    if wanted:
        why = f"INVFLOW_KERNELS={wanted}, which this processor or this build of the library lacks"
        return _warned(why, "Unset it")
    return f"there are no kernels for this processor, {platform.processor() or platform.machine()}"


def _checked(library: ctypes.CDLL) -> ctypes.CDLL:
    """Return a library after checking its functions and its record format."""
    library.invflow_abi.restype = ctypes.c_int64
    library.invflow_variant.restype = ctypes.c_char_p
    library.invflow_kernels.restype = ctypes.POINTER(Kernels)
    library.invflow_kernels.argtypes = [ctypes.c_int64]
    if library.invflow_abi() != ctypes.sizeof(Record):
        raise build.BuildError(f"{build.LIBRARY} belongs to another version of invflow")
    return library


def _warned(why: str, remedy: str) -> str:
    warnings.warn(
        f"the compiled kernels cannot be used, so the slower PyTorch code runs instead: {why}. "
        f"{remedy}. To silence this warning, set INVFLOW_KERNELS=off.",
        RuntimeWarning,
        stacklevel=2,
    )
    return why


def _remedy() -> str:
    if build.SOURCES.is_dir():
        return "Once this is fixed, they are compiled the next time Python starts"
    options = "--force-reinstall --no-deps --no-cache-dir --no-binary invflow"
    return f"Install a C compiler (gcc or clang), then run: pip install {options} {_origin()}"


def _origin() -> str:
    """Return what pip installed the package from, or else its name."""
    try:
        known = json.loads(metadata.distribution("invflow").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return "invflow"
    if vcs := known.get("vcs_info"):
        return f"{vcs['vcs']}+{known['url']}@{vcs['commit_id']}"
    url = known.get("url", ".whl")
    return "invflow" if url.endswith(".whl") else url
