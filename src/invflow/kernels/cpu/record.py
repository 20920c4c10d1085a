"""The argument of a kernel: the address of one record of numbers and addresses."""

from __future__ import annotations

import ctypes

_NAMES = (
    "inverse", "transforms", "batch", "keep",
    "layers", "features", "starts", "tops", "degrees", "blocks", "matrices", "residual",
    "activation", "map",
    "tensors",
    "value", "result", "ladj", "kept", "steps",
    "bar", "bar_ladj", "bar_value", "bar_offsets", "bars", "gradients", "tasks", "pieces", "shares",
    "partial", "sums",
)  # fmt: skip


class Record(ctypes.Structure):
    """A chain of transforms, a batch and its results, with arrays by address; see `record.h`.

    The chain. Its transforms differ only in weights and orders, and are in the order of evaluation:
    if the flow is inverted, its last transform comes first.

    - inverse: whether to map x to z.
    - transforms, batch, layers, features: their numbers; layers include features and outputs.
    - starts, [layers, features + 1], and tops, [layers]: see `network.h`; degrees: of all units,
      layer by layer.
    - blocks, [matrices, 3]: for each matrix, the layer that it adds to, the layer that it reads,
      and its offset among all weights of a transform.
    - residual: whether a hidden layer adds the one before it.
    - activation, map: their numbers; bound: on an affine map's log-scale, or a spline's log-slopes;
      low, high: ends of a spline's interval; smallest_bin: of a spline, relative to bins of equal
      size; input_bound: on what is read of features, infinite for none.
    - tensors, [transforms, 4]: the addresses of the order of the features, or 0 to keep their
      order; of the biases, [units]; of the matrices, [weights]; and of a context's contribution to
      the first layer, [batch, units], or 0.

    The forward pass.

    - value, [batch, features]: the input; result: the output.
    - ladj, [batch]: the log-determinants.
    - keep: whether to keep what the backward pass needs.
    - kept, [transforms, tiles, units, columns]: if so, the pre-activations and the parameters.
    - steps, [transforms + 1, tiles, features, columns]: if so, the features before the first
      transform and after each one.

    The backward pass.

    - bar, [batch, features]: cotangents of the last transform's output; bar_ladj, [batch]: those of
      the log-determinants.
    - bar_value: cotangents of the input; bar_offsets, [transforms, batch, units]: those of the
      context's contributions, or 0.
    - bars, [tiles, units, columns]: cotangents of the pre-activations and parameters of one
      transform; if gradients are computed transform by transform, followed by their sums,
      [tiles, units], and those of the features, [tiles, features, columns].
    - gradients, [transforms, units + weights]: those of the biases and of the matrices.
    - tasks, [pieces, 3]: panels of matrices: which matrix, the first unit, and whether it belongs
      to the target; after the last matrix, the biases.
    - shares: number of parts of the batch with their own gradients in partial,
      [shares, transforms, units + weights]; 0 if gradients are computed transform by transform.
      sums: number of pieces in which they are summed.

    Written by threads: the numbers of pieces of work that are taken and done, and whether one of
    them failed.
    """

    _fields_ = [
        *((name, ctypes.c_int64) for name in _NAMES),
        ("bound", ctypes.c_double),
        ("input_bound", ctypes.c_double),
        ("low", ctypes.c_double),
        ("high", ctypes.c_double),
        ("smallest_bin", ctypes.c_double),
        ("taken", ctypes.c_int64),
        ("done", ctypes.c_int64),
        ("failed", ctypes.c_int64),
    ]
