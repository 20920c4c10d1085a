"""The one product of matrices that a sweep is made of, in vector instructions.

A *tile* holds some columns of a batch, `VECTORS` registers of them, each row contiguous. Rows are
added to in groups: a group's sums stay in registers while the products run over the rows read, so
that each number loaded from the tile serves all rows of the group. Loops that LLVM vectorises by
itself load and store the sums in every turn, and use half of the widest registers.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportUntypedFunctionDecorator=false, reportAttributeAccessIssue=false
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic


def _registers() -> tuple[int, int]:
    """Return the registers per row of a tile, and the bytes of each.

    Four rows of sums, a row that is read and a weight must fit into a processor's registers.
    """
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    known = {"+avx512f": (4, 64), "+fma": (2, 32), "+neon": (4, 16)}
    for feature, registers in known.items():
        if feature in features.split(","):
            return registers
    raise ImportError("the compiled sweeps need a processor with fused multiply-add in registers")


VECTORS, REGISTER = _registers()


def _group(rows: int) -> Any:
    """Return a function that adds to `rows` rows: see `accumulate`."""

    @intrinsic
    def add(context, out, at, weights, first, length, values, source, count):
        def emit(*arguments: Any) -> Any:
            return _emit(rows, *arguments)

        return types.void(out, at, weights, first, length, values, source, count), emit

    return add


def _emit(rows: int, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the instructions of a group: sums in registers, one loop over the rows read."""
    number = context.get_value_type(signature.args[0].dtype)
    size = context.get_abi_sizeof(number)
    lanes = REGISTER // size
    vector = ir.VectorType(number, lanes)
    integer = ir.IntType(64)
    fused = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector] * 3),
        f"llvm.fma.v{lanes}f{8 * size}",
    )

    def pointer(argument: int) -> Any:
        """Return where the array starts, moved by the offset that is the next argument."""
        array = cgutils.create_struct_proxy(signature.args[argument])(
            context, builder, arguments[argument]
        )
        return builder.gep(array.data, [arguments[argument + 1]])

    def vectors(start: Any, row: int) -> list[Any]:
        """Return pointers to a row's registers."""
        places = [integer((row * VECTORS + v) * lanes) for v in range(VECTORS)]
        return [
            builder.bitcast(builder.gep(start, [place]), vector.as_pointer()) for place in places
        ]

    out, weights, values = pointer(0), pointer(2), pointer(5)
    length, count = arguments[4], arguments[7]
    targets = [place for row in range(rows) for place in vectors(out, row)]
    starts = [builder.load(place, align=size) for place in targets]
    heads = [builder.gep(weights, [builder.mul(length, integer(row))]) for row in range(rows)]

    before = builder.block
    test, body, after = (builder.append_basic_block(name) for name in ("test", "body", "after"))
    builder.branch(test)
    builder.position_at_end(test)
    step = builder.phi(integer)
    step.add_incoming(integer(0), before)
    sums = [builder.phi(vector) for _ in targets]
    for total, start in zip(sums, starts, strict=True):
        total.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", step, count), body, after)

    builder.position_at_end(body)
    row_read = builder.gep(values, [builder.mul(step, integer(VECTORS * lanes))])
    loaded = [builder.load(place, align=size) for place in vectors(row_read, 0)]
    undefined = ir.Constant(vector, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    for row, head in enumerate(heads):
        weight = builder.load(builder.gep(head, [step]))
        spread = builder.insert_element(undefined, weight, ir.IntType(32)(0))
        spread = builder.shuffle_vector(spread, undefined, zeros)
        for v, factor in enumerate(loaded):
            total = sums[row * VECTORS + v]
            total.add_incoming(builder.call(fused, [spread, factor, total]), body)
    step.add_incoming(builder.add(step, integer(1)), body)
    builder.branch(test)

    builder.position_at_end(after)
    for total, place in zip(sums, targets, strict=True):
        builder.store(total, place, align=size)
    return context.get_dummy_value()


_four, _two, _one = _group(4), _group(2), _group(1)


@njit(nogil=True)
def accumulate(out, row, rows, weights, first, length, values, source, count, columns):
    """Add a product to rows of a tile: out[row + i] += sum_k w[i, k] values[source + k].

    Args:
        out: a tile's memory, flat.
        row: the first row added to.
        rows: how many.
        weights: memory of matrices, flat.
        first: where w[0, 0] is.
        length: from w[i, k] to w[i + 1, k]; w[i, k + 1] comes next.
        values: the memory of the tile that is read, flat.
        source: its first row.
        count: how many rows are read.
        columns: of a tile, `VECTORS` registers full.
    """
    source *= columns
    end = row + rows
    while row + 4 <= end:
        _four(out, row * columns, weights, first, length, values, source, count)
        row, first = row + 4, first + 4 * length
    if row + 2 <= end:
        _two(out, row * columns, weights, first, length, values, source, count)
        row, first = row + 2, first + 2 * length
    if row < end:
        _one(out, row * columns, weights, first, length, values, source, count)
