"""Pieces of work that threads take, one after another, until none is left.

A thread that starts late, or shares its processor, takes fewer of them.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from invflow.kernels.cpu.record import Record


def _emit_count(context, address):
    """Return the integer at an address, which is one more then."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        counter = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", counter, ir.IntType(64)(1), "monotonic")

    return types.int64(address), emit


_count: Any = intrinsic(_emit_count)
_TAKEN, _DONE = Record.taken.offset, Record.done.offset


@njit(nogil=True)
def take(record):
    """Return the number of the next piece, from the record at this address."""
    return _count(record + _TAKEN)


@njit(nogil=True)
def finish(record):
    """Count one piece more as done."""
    _count(record + _DONE)
