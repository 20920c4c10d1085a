"""Pieces of work that threads take, one after another, until none is left.

A thread that starts late, or shares its processor, takes fewer of them.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _emit_take(context, counter):
    """Return the number of the next piece: what the counter [1] holds, which is one more then."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.IntType(64)(1), "monotonic")

    return types.int64(counter), emit


take: Any = intrinsic(_emit_take)
