"""The parts of the kernels, compiled one by one for every variant that this processor can run."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from invflow.kernels import build
from invflow.kernels.cpu import library

#: The variants that there are for this kind of processor.
VARIANTS = list(build.variants())


class Parts:
    """The parts of one variant in one precision, as functions of arrays and numbers.

    Args:
        variant: a name of `VARIANTS`.
        dtype: single or double precision.
        folder: where to compile them.
    """

    def __init__(self, variant: str, dtype: type[np.floating], folder: Path) -> None:
        self.dtype, self.eps = dtype, float(np.finfo(dtype).eps)
        self._library = _compiled(variant, np.dtype(dtype).itemsize * 8, folder)
        self.columns: int = self._library.parts_columns()
        self.lanes: int = self._library.parts_lanes()

    def __call__(self, name: str, *arguments: NDArray[np.floating] | float) -> None:
        """Call a function of `parts.c`; it writes to its arrays."""
        function = getattr(self._library, f"parts_{name}")
        function.restype = None
        function(*map(self._passed, arguments))

    def _passed(self, argument: NDArray[np.floating] | float) -> object:
        if isinstance(argument, np.ndarray):
            assert argument.dtype == self.dtype
            return ctypes.c_void_p(argument.ctypes.data)
        return (ctypes.c_int64 if isinstance(argument, int) else ctypes.c_double)(argument)

    def each(self, name: str, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return an elementary function of numbers in this precision, any number of them."""
        padded = np.resize(points, -(-len(points) // self.lanes) * self.lanes)
        values = np.empty_like(padded)
        self(name, padded, values, len(padded))
        return values[: len(points)]


def _compiled(variant: str, bits: int, folder: Path) -> ctypes.CDLL:
    real = {bits: name for name, bits in build.PRECISIONS.items()}[bits]
    made = folder / f"{variant}_{bits}.so"
    flags = [*build.FLAGS, *build.variants()[variant]]
    defined = [f"-DREAL={real}", f"-DREAL_BITS={bits}"]
    source = ["-I", str(build.SOURCES), "-shared", str(Path(__file__).with_suffix(".c"))]
    build._run([*build._compiler(), *flags, *defined, *source, "-o", str(made), "-lm"])
    return ctypes.CDLL(str(made))


@cache
def missing(variant: str) -> str | None:
    """Return why a variant cannot run here, None if it can."""
    try:
        build._compiler()
    except build.BuildError as error:
        return str(error)
    if (why := library.reason()) is not None:
        return why
    asked = ctypes.CDLL(str(build.LIBRARY)).invflow_variant
    asked.restype = ctypes.c_char_p
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INVFLOW_KERNELS", variant)
        found = asked()
    return None if found else f"this processor does not run {variant}"
