"""The sweep through a MADE and its reverse, each one launch: see `conditioners.sweep` for the idea.

A program takes `BLOCK` columns of the batch and walks through panels of features. When a panel
opens, products of matrices bring into the sums of its rows what lies beyond the panel; inside it,
each feature adds a product with the panel's own few units. All rows lie in global memory, each
row a run over the batch, where a program's own columns stay in its caches. Barriers stand where one
thread reads what another wrote.

`starts`, `tops` and `places` are as in `structure.Structure`; `shelves[layer]` is where the layer's
rows begin among the sums of a panel.

Sums are in `sums`' precision, and rounded to the tensors' where they are complete.
"""

# pyright: reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false
# pyright: reportGeneralTypeIssues=false
from __future__ import annotations

import triton
import triton.language as tl

from invflow.kernels.gpu.activations import activate, slope
from invflow.kernels.gpu.maps import pull_solve, soft_clip, soft_clip_slope, solve


@triton.jit
def _product(
    total, matrix, length, rows, live, values, first, end, columns, inside, batch,
    DEPTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add the product of rows of a matrix with rows of values.

    Args:
        total: what is added to, [rows, columns].
        matrix: where the matrix begins.
        length: of its rows.
        rows: which of them.
        live: whether they are rows that count.
        values: where the first row of values is.
        first: the first of them that is read.
        end: the one after the last.
        columns: of the batch.
        inside: whether they are in the batch.
        batch: its size.
        DEPTH: rows of values in one product.
        PRECISION: of products of single precision.
    """
    for k in range(first, end, DEPTH):
        read = k + tl.arange(0, DEPTH)
        known = read < end
        w = tl.load(
            matrix + rows[:, None] * length + read[None, :],
            mask=live[:, None] & known[None, :], other=0.0,
        )  # fmt: skip
        v = tl.load(
            values + read[:, None] * batch + columns[None, :],
            mask=known[:, None] & inside[None, :], other=0.0,
        )  # fmt: skip
        total = tl.dot(w, v, total, input_precision=PRECISION, out_dtype=total.dtype)
    return total


@triton.jit
def _row(block, index):
    """Return one row of a block."""
    rows = tl.arange(0, block.shape[0])
    return tl.sum(tl.where((rows == index)[:, None], block, 0.0), 0)


@triton.jit(do_not_specialize=["features", "panel", "offset_unit", "offset_batch"])
def sweep(
    starts, tops, places, shelves, weights, biases, offset, offset_unit, offset_batch, order, x,
    z, ladj, parameters, hidden, values, sums, features, batch, panel,
    LAYERS: tl.constexpr, OUTPUTS: tl.constexpr, DIRECT: tl.constexpr, RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr, MAP: tl.constexpr, BOUND: tl.constexpr, INPUT_BOUND: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, GROUP: tl.constexpr,
    DEPTH: tl.constexpr,
):  # fmt: skip
    """Invert the features one after another, from cached activations.

    Args:
        starts: see above, [layers, features + 1].
        tops: see above, [layers].
        places: see above, [matrices].
        shelves: see above, [layers].
        weights: all matrices, flat.
        biases: of the layers after the first, flat.
        offset: pre-activations of layer 1 without its features, [units, batch].
        offset_unit: from one unit's to the next.
        offset_batch: from one column's to the next.
        order: the features in the order in which they are taken.
        x: data, [batch, features].
        z: filled with the solution, [batch, features].
        ladj: filled with log|det dz/dx|, [batch].
        parameters: filled with the parameters, [features * outputs, batch].
        hidden: filled with the pre-activations, [units, batch].
        values: room for what products read, [features + units, batch].
        sums: room for the rows of a panel, [rows, batch].
        features: how many.
        batch: its size.
        panel: features in a panel.
        LAYERS: the hidden ones, and one for the outputs.
        OUTPUTS: parameters per feature.
        DIRECT: whether the outputs also read the features.
        RESIDUAL: whether a hidden layer adds the one before.
        ACTIVATION: its name.
        MAP: the univariate map's name.
        BOUND: of an affine map's log-scale.
        INPUT_BOUND: of what is read of features, infinite for none.
        PRECISION: of products of single precision.
        BLOCK: columns of a program.
        ROWS: of a product where a panel opens.
        GROUP: rows of a product inside it.
        DEPTH: rows that a product reads at once.
    """
    features, batch = tl.cast(features, tl.int64), tl.cast(batch, tl.int64)
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK).to(tl.int64)
    inside = columns < batch
    wide = sums.dtype.element_ty
    total = tl.zeros([BLOCK], wide)
    steps = features + 1
    for first in range(0, features, panel):
        beyond = tl.minimum(first + panel, features)
        for layer in tl.static_range(1, LAYERS + 1):
            low = tl.load(starts + layer * steps + first)
            high = tl.load(starts + layer * steps + beyond)
            length = tl.load(starts + (layer - 1) * steps + features)
            known = tl.load(starts + (layer - 1) * steps + first)
            matrix = weights + tl.load(places + layer - 1)
            source = values + tl.load(tops + layer - 1) * batch
            shelf = tl.load(shelves + layer) - low
            for unit in range(low, high, ROWS):
                rows = unit + tl.arange(0, ROWS)
                live = rows < high
                here = live[:, None] & inside[None, :]
                if layer == 1:
                    spread = rows[:, None] * offset_unit + columns[None, :] * offset_batch
                    block = tl.load(offset + spread, mask=here, other=0.0).to(wide)
                else:
                    above = tl.load(tops + layer) - tl.load(tops + 2)
                    bias = tl.load(biases + above + rows, mask=live, other=0.0).to(wide)
                    block = tl.zeros([ROWS, BLOCK], wide) + bias[:, None]
                block = _product(
                    block, matrix, length, rows, live, source, 0, known, columns, inside, batch,
                    DEPTH, PRECISION,
                )  # fmt: skip
                if DIRECT and layer == LAYERS:
                    block = _product(
                        block, weights + tl.load(places + LAYERS), features, rows, live,
                        values, 0, first, columns, inside, batch, DEPTH, PRECISION,
                    )  # fmt: skip
                tl.store(sums + (shelf + rows)[:, None] * batch + columns[None, :], block, here)
        tl.debug_barrier()
        for d in range(first, beyond):
            place = columns * features + tl.load(order + d)
            datum = tl.load(x + place, mask=inside, other=0.0).to(wide)
            for layer in tl.static_range(1, LAYERS):
                low = tl.load(starts + layer * steps + d)
                high = tl.load(starts + layer * steps + d + 1)
                length = tl.load(starts + (layer - 1) * steps + features)
                begin = tl.load(starts + (layer - 1) * steps + first)
                known = tl.load(starts + (layer - 1) * steps + d + (layer > 1))
                matrix = weights + tl.load(places + layer - 1)
                source = values + tl.load(tops + layer - 1) * batch
                top = tl.load(tops + layer)
                shelf = tl.load(shelves + layer) - tl.load(starts + layer * steps + first)
                for unit in range(low, high, GROUP):
                    rows = unit + tl.arange(0, GROUP)
                    live = rows < high
                    here = live[:, None] & inside[None, :]
                    summed = sums + (shelf + rows)[:, None] * batch + columns[None, :]
                    block = tl.load(summed, mask=here, other=0.0)
                    block = _product(
                        block, matrix, length, rows, live, source, begin, known, columns, inside,
                        batch, DEPTH, PRECISION,
                    )  # fmt: skip
                    kept = hidden + (top - features + rows)[:, None] * batch + columns[None, :]
                    if RESIDUAL and layer > 1:
                        width = tl.load(starts + layer * steps + features)
                        block += tl.load(kept - width * batch, mask=here, other=0.0).to(wide)
                    tl.store(kept, block, here)
                    tl.store(
                        values + (top + rows)[:, None] * batch + columns[None, :],
                        activate(block, ACTIVATION), here,
                    )  # fmt: skip
                tl.debug_barrier()
            # The parameters of all features of the group that begins here, if one does.
            low = tl.load(starts + LAYERS * steps + d)
            high = tl.load(starts + LAYERS * steps + d + 1)
            shelf = tl.load(shelves + LAYERS) - tl.load(starts + LAYERS * steps + first)
            for unit in range(low, high, GROUP):
                rows = unit + tl.arange(0, GROUP)
                live = rows < high
                here = live[:, None] & inside[None, :]
                summed = sums + (shelf + rows)[:, None] * batch + columns[None, :]
                block = tl.load(summed, mask=here, other=0.0)
                block = _product(
                    block, weights + tl.load(places + LAYERS - 1),
                    tl.load(starts + (LAYERS - 1) * steps + features), rows, live,
                    values + tl.load(tops + LAYERS - 1) * batch,
                    tl.load(starts + (LAYERS - 1) * steps + first),
                    tl.load(starts + (LAYERS - 1) * steps + d + (LAYERS > 1)),
                    columns, inside, batch, DEPTH, PRECISION,
                )  # fmt: skip
                if DIRECT:
                    block = _product(
                        block, weights + tl.load(places + LAYERS), features, rows, live,
                        values, first, d, columns, inside, batch, DEPTH, PRECISION,
                    )  # fmt: skip
                tl.store(parameters + rows[:, None] * batch + columns[None, :], block, here)
            tl.debug_barrier()
            at = d * OUTPUTS * batch + columns
            shift = tl.load(parameters + at, mask=inside, other=0.0).to(wide)
            raw = shift
            if OUTPUTS > 1:
                raw = tl.load(parameters + at + batch, mask=inside, other=0.0).to(wide)
            solved, more = solve(datum, shift, raw, MAP, BOUND)
            total += more
            tl.store(z + place, solved, inside)
            tl.store(values + d * batch + columns, soft_clip(solved, INPUT_BOUND), inside)
            tl.debug_barrier()
    tl.store(ladj + columns, total, inside)


@triton.jit(do_not_specialize=["features", "panel"])
def reverse_sweep(
    starts, tops, places, shelves, weights, order, z, parameters, hidden, bar_z, bar_ladj,
    bar_x, bar_params, bar_hidden, sums, features, batch, panel,
    LAYERS: tl.constexpr, OUTPUTS: tl.constexpr, DIRECT: tl.constexpr, RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr, MAP: tl.constexpr, BOUND: tl.constexpr, INPUT_BOUND: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, GROUP: tl.constexpr,
    DEPTH: tl.constexpr,
):  # fmt: skip
    """Take cotangents back through a sweep, the last feature first.

    Args:
        starts: as in `sweep`, like all others not named here.
        tops: as in `sweep`.
        places: as in `sweep`.
        shelves: as in `sweep`.
        weights: all matrices, transposed, flat.
        order: the features in the order in which they are taken.
        z: the solution that `sweep` left, [batch, features].
        parameters: the parameters that it left.
        hidden: the pre-activations that it left.
        bar_z: cotangents of z, [batch, features].
        bar_ladj: those of the log-determinants, [batch].
        bar_x: filled with the cotangents of x.
        bar_params: with those of the parameters.
        bar_hidden: with those of the pre-activations.
        sums: room for the rows of a panel, [rows, batch].
        features: how many.
        batch: its size.
        panel: features in a panel.
        LAYERS: the hidden ones, and one for the outputs.
        OUTPUTS: parameters per feature.
        DIRECT: whether the outputs also read the features.
        RESIDUAL: whether a hidden layer adds the one before.
        ACTIVATION: its name.
        MAP: the univariate map's name.
        BOUND: of an affine map's log-scale.
        INPUT_BOUND: of what is read of features, infinite for none.
        PRECISION: of products of single precision.
        BLOCK: columns of a program.
        ROWS: of a product where a panel opens.
        GROUP: rows of a product inside it.
        DEPTH: rows that a product reads at once.
    """
    features, batch = tl.cast(features, tl.int64), tl.cast(batch, tl.int64)
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK).to(tl.int64)
    inside = columns < batch
    wide = sums.dtype.element_ty
    tail = tl.load(bar_ladj + columns, mask=inside, other=0.0).to(wide)
    steps = features + 1
    for done in range(0, features, panel):
        first = (features - 1) // panel * panel - done
        beyond = tl.minimum(first + panel, features)
        for layer in tl.static_range(0, LAYERS):
            low = tl.load(starts + layer * steps + first)
            high = tl.load(starts + layer * steps + beyond)
            length = tl.load(starts + (layer + 1) * steps + features)
            later = tl.load(starts + (layer + 1) * steps + beyond)
            matrix = weights + tl.load(places + layer)
            target = bar_params
            if layer + 1 < LAYERS:
                target = bar_hidden + (tl.load(tops + layer + 1) - features) * batch
            shelf = tl.load(shelves + layer) - low
            for unit in range(low, high, ROWS):
                rows = unit + tl.arange(0, ROWS)
                live = rows < high
                block = _product(
                    tl.zeros([ROWS, BLOCK], wide), matrix, length, rows, live,
                    target, later, length, columns, inside, batch, DEPTH, PRECISION,
                )  # fmt: skip
                if DIRECT and layer == 0:
                    block = _product(
                        block, weights + tl.load(places + LAYERS), features * OUTPUTS, rows, live,
                        bar_params, tl.load(starts + LAYERS * steps + beyond), features * OUTPUTS,
                        columns, inside, batch, DEPTH, PRECISION,
                    )  # fmt: skip
                summed = sums + (shelf + rows)[:, None] * batch + columns[None, :]
                tl.store(summed, block, live[:, None] & inside[None, :])
        tl.debug_barrier()
        for step in range(beyond - first):
            d = beyond - 1 - step
            place = columns * features + tl.load(order + d)
            cotangent = tl.load(bar_z + place, mask=inside, other=0.0).to(wide)
            point = tl.load(z + place, mask=inside, other=0.0).to(wide)
            at = d * OUTPUTS * batch + columns
            shift = tl.load(parameters + at, mask=inside, other=0.0).to(wide)
            raw = shift
            if OUTPUTS > 1:
                raw = tl.load(parameters + at + batch, mask=inside, other=0.0).to(wide)
            rows = d + tl.arange(0, GROUP)
            live = rows < d + 1
            shelf = tl.load(shelves) - first
            summed = sums + (shelf + rows)[:, None] * batch + columns[None, :]
            block = tl.load(summed, mask=live[:, None] & inside[None, :], other=0.0)
            target = bar_params
            if LAYERS > 1:
                target = bar_hidden
            block = _product(
                block, weights, tl.load(starts + steps + features), rows, live,
                target, tl.load(starts + steps + d + 1), tl.load(starts + steps + beyond),
                columns, inside, batch, DEPTH, PRECISION,
            )  # fmt: skip
            if DIRECT:
                block = _product(
                    block, weights + tl.load(places + LAYERS), features * OUTPUTS, rows, live,
                    bar_params, tl.load(starts + LAYERS * steps + d + 1),
                    tl.load(starts + LAYERS * steps + beyond),
                    columns, inside, batch, DEPTH, PRECISION,
                )  # fmt: skip
            cotangent += soft_clip_slope(point, INPUT_BOUND) * _row(block, 0)
            pulled, bar_shift, bar_raw = pull_solve(point, shift, raw, cotangent, tail, MAP, BOUND)
            tl.store(bar_x + place, pulled, inside)
            tl.store(bar_params + at, bar_shift, inside)
            if OUTPUTS > 1:
                tl.store(bar_params + at + batch, bar_raw, inside)
            tl.debug_barrier()
            for layer in tl.static_range(LAYERS - 1, 0, -1):
                low = tl.load(starts + layer * steps + d)
                high = tl.load(starts + layer * steps + d + 1)
                width = tl.load(starts + layer * steps + features)
                length = tl.load(starts + (layer + 1) * steps + features)
                reached = tl.load(starts + (layer + 1) * steps + d)
                later = tl.load(starts + (layer + 1) * steps + beyond)
                matrix = weights + tl.load(places + layer)
                top = tl.load(tops + layer) - features
                target = bar_params
                if layer + 1 < LAYERS:
                    target = bar_hidden + (top + width) * batch
                shelf = tl.load(shelves + layer) - tl.load(starts + layer * steps + first)
                for unit in range(low, high, GROUP):
                    rows = unit + tl.arange(0, GROUP)
                    live = rows < high
                    here = live[:, None] & inside[None, :]
                    summed = sums + (shelf + rows)[:, None] * batch + columns[None, :]
                    block = tl.load(summed, mask=here, other=0.0)
                    block = _product(
                        block, matrix, length, rows, live, target, reached, later,
                        columns, inside, batch, DEPTH, PRECISION,
                    )  # fmt: skip
                    kept = (top + rows)[:, None] * batch + columns[None, :]
                    before = tl.load(hidden + kept, mask=here, other=0.0).to(wide)
                    block *= slope(before, ACTIVATION)
                    if RESIDUAL and layer + 1 < LAYERS:
                        following = bar_hidden + kept + width * batch
                        block += tl.load(following, mask=here, other=0.0).to(wide)
                    tl.store(bar_hidden + kept, block, here)
                tl.debug_barrier()
