"""The one product of matrices that a sweep is made of, in vector instructions.

A *tile* holds some columns of a batch, `ROW` bytes of them, each row contiguous. Rows are added to
in groups, a few registers wide: a group's sums stay in registers while the products run over the
rows read, so that each number loaded from the tile serves all rows of the group, and each weight
all strips of the tile. Loops that LLVM vectorises by itself load and store the sums in every turn,
and use half of the widest registers.

Matrices are read where they lie in memory, by address, as they are or transposed.
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
    """Return how many registers wide a group is, and the bytes of each.

    Six rows of sums, what is read of a row and a weight must fit into a processor's registers.
    """
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    known = {"+avx512f": (4, 64), "+fma": (2, 32), "+neon": (4, 16)}
    for feature, registers in known.items():
        if feature in features.split(","):
            return registers
    raise ImportError("the compiled sweeps need a processor with fused multiply-add in registers")


VECTORS, REGISTER = _registers()
#: Bytes in a row of a tile: as many registers as keep a row alone busy.
ROW = 256
#: Rows in a group, and rows that are read at a time, so that they stay in the nearest cache.
GROUP, DEPTH = 6, 128


def _width(rows: int) -> int:
    """Return how many registers wide a group of so many rows is; a flat one needs several chains.

    Sums wait for each other from one row read to the next.
    """
    return min(VECTORS * max(4 // rows, 1), ROW // REGISTER)


def _group(rows: int) -> Any:
    """Return a function that adds to a strip of `rows` rows: see `accumulate`."""

    @intrinsic
    def add(context, out, at, weights, across, along, values, source, count):
        def emit(*arguments: Any) -> Any:
            return _emit(rows, *arguments)

        return types.void(out, at, weights, across, along, values, source, count), emit

    return add


def _emit(rows: int, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Write the instructions of a group: sums in registers, one loop over the rows read."""
    number = context.get_value_type(signature.args[0].dtype)
    size = context.get_abi_sizeof(number)
    lanes, width = REGISTER // size, _width(rows)
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
        places = [integer(row * (ROW // size) + v * lanes) for v in range(width)]
        return [
            builder.bitcast(builder.gep(start, [place]), vector.as_pointer()) for place in places
        ]

    out, values = pointer(0), pointer(5)
    weights = builder.inttoptr(arguments[2], number.as_pointer())
    across, along, count = arguments[3], arguments[4], arguments[7]
    targets = [place for row in range(rows) for place in vectors(out, row)]
    starts = [builder.load(place, align=size) for place in targets]
    heads = [builder.gep(weights, [builder.mul(across, integer(row))]) for row in range(rows)]

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
    row_read = builder.gep(values, [builder.mul(step, integer(ROW // size))])
    loaded = [builder.load(place, align=size) for place in vectors(row_read, 0)]
    undefined = ir.Constant(vector, ir.Undefined)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    place = builder.mul(step, along)
    for row, head in enumerate(heads):
        weight = builder.load(builder.gep(head, [place]))
        spread = builder.insert_element(undefined, weight, ir.IntType(32)(0))
        spread = builder.shuffle_vector(spread, undefined, zeros)
        for v, factor in enumerate(loaded):
            total = sums[row * width + v]
            total.add_incoming(builder.call(fused, [spread, factor, total]), body)
    step.add_incoming(builder.add(step, integer(1)), body)
    builder.branch(test)

    builder.position_at_end(after)
    for total, place in zip(sums, targets, strict=True):
        builder.store(total, place, align=size)
    return context.get_dummy_value()


_most, _four, _two, _one = _group(GROUP), _group(4), _group(2), _group(1)
_BREADTHS = tuple(_width(rows) * REGISTER for rows in (GROUP, 4, 2, 1))


@njit(nogil=True)
def accumulate(out, row, rows, weights, across, along, values, source, count, columns):
    """Add a product to rows of a tile: out[row + i] += sum_k w[i, k] values[source + k].

    Args:
        out: a tile's memory, flat.
        row: the first row added to.
        rows: how many.
        weights: the address of w[0, 0].
        across: numbers from w[i, k] to w[i + 1, k].
        along: numbers from w[i, k] to w[i, k + 1].
        values: the memory of the tile that is read, flat.
        source: its first row.
        count: how many rows are read.
        columns: of a tile, `ROW` bytes.
    """
    size = out.itemsize
    most, four, two, one = (
        _BREADTHS[0] // size,
        _BREADTHS[1] // size,
        _BREADTHS[2] // size,
        _BREADTHS[3] // size,
    )
    for begin in range(0, count, DEPTH):
        depth = min(DEPTH, count - begin)
        at, read = weights + begin * along * size, (source + begin) * columns
        place, end = row * columns, (row + rows) * columns
        while place + GROUP * columns <= end:
            for c in range(0, columns, most):
                _most(out, place + c, at, across, along, values, read + c, depth)
            place, at = place + GROUP * columns, at + GROUP * across * size
        if place + 4 * columns <= end:
            for c in range(0, columns, four):
                _four(out, place + c, at, across, along, values, read + c, depth)
            place, at = place + 4 * columns, at + 4 * across * size
        if place + 2 * columns <= end:
            for c in range(0, columns, two):
                _two(out, place + c, at, across, along, values, read + c, depth)
            place, at = place + 2 * columns, at + 2 * across * size
        if place < end:
            for c in range(0, columns, one):
                _one(out, place + c, at, across, along, values, read + c, depth)


@njit(nogil=True)
def accumulate_group(out, row, weights, across, along, values, source, count, left, right):
    """Add a product to a whole group of rows, from column `left` to `right` at least.

    See `accumulate`; at most `DEPTH` rows are read. All columns are taken where a group is a whole
    row wide.
    """
    columns = ROW // out.itemsize
    wide = columns * _BREADTHS[0] // ROW
    for c in range(left // wide * wide, right, wide):
        _most(
            out, row * columns + c, weights, across, along, values, source * columns + c, count
        )  # fmt: skip


def _emit_total(context, values, at):
    """Return the sum of a row of a tile that begins at an index."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.get_value_type(signature.args[0].dtype)
        size = context.get_abi_sizeof(number)
        vector = ir.VectorType(number, REGISTER // size)
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        start = builder.bitcast(builder.gep(array.data, [arguments[1]]), vector.as_pointer())
        places = (builder.gep(start, [ir.IntType(64)(v)]) for v in range(ROW // REGISTER))
        parts = [builder.load(place, align=size) for place in places]
        while len(parts) > 1:
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [builder.fadd(*pair) for pair in pairs]
        lanes = [
            builder.extract_element(parts[0], ir.IntType(32)(i)) for i in range(REGISTER // size)
        ]
        while len(lanes) > 1:
            lanes = [builder.fadd(*pair) for pair in zip(lanes[::2], lanes[1::2], strict=True)]
        return lanes[0]

    return values.dtype(values, at), emit


total: Any = intrinsic(_emit_total)


def _turn(context, values, at, out, to, step):
    """Write the transpose of a square, as large as a register is long, of a tile to another."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.get_value_type(signature.args[0].dtype)
        size = context.get_abi_sizeof(number)
        lanes = REGISTER // size
        vector = ir.VectorType(number, lanes)

        def pointers(argument: int) -> list[Any]:
            array = cgutils.create_struct_proxy(signature.args[argument])(
                context, builder, arguments[argument]
            )
            start = builder.gep(array.data, [arguments[argument + 1]])
            places = [builder.mul(arguments[4], ir.IntType(64)(i)) for i in range(lanes)]
            return [
                builder.bitcast(builder.gep(start, [place]), vector.as_pointer())
                for place in places
            ]

        rows = [builder.load(place, align=size) for place in pointers(0)]
        half = 1
        while half < lanes:  # swap the off-diagonal halves of ever larger squares
            for i in range(lanes):
                if not i & half:
                    pair = rows[i], rows[i + half]
                    first = [j + lanes - half if j & half else j for j in range(lanes)]
                    second = [j + lanes if j & half else j + half for j in range(lanes)]
                    rows[i], rows[i + half] = (
                        builder.shuffle_vector(
                            *pair, ir.Constant(ir.VectorType(ir.IntType(32), lanes), picks)
                        )
                        for picks in (first, second)
                    )
            half *= 2
        for row, place in zip(rows, pointers(2), strict=True):
            builder.store(row, place, align=size)
        return context.get_dummy_value()

    return types.void(values, at, out, to, step), emit


_square: Any = intrinsic(_turn)


@njit(nogil=True)
def transpose(tile, top, rows, columns, scratch):
    """Fill row c of `scratch` with column c of rows of a tile.

    Args:
        tile: a tile's memory, flat.
        top: the first row.
        rows: how many, at most as many as there are columns.
        columns: of the tile, and of `scratch`.
        scratch: [columns * columns], flat.
    """
    lanes = REGISTER // tile.itemsize
    whole = rows // lanes * lanes
    for row in range(0, whole, lanes):
        for c in range(0, columns, lanes):
            _square(tile, (top + row) * columns + c, scratch, c * columns + row, columns)
    for row in range(whole, rows):
        part, out = tile[(top + row) * columns :], scratch[row:]
        for c in range(columns):
            out[c * columns] = part[c]
