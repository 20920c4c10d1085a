"""What a kernel is given: one record of numbers and addresses, by its own address."""

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
    """A chain of transforms, a batch, and what becomes of it; arrays by address: see `record.h`.

    The chain. Its transforms are alike but for their weights and orders, and stand in the order in
    which they are taken: the last one of a flow first, where the flow is inverted.

    - inverse: whether transforms are taken from x to z.
    - transforms, batch, layers, features: their numbers; layers with features and outputs.
    - starts, [layers, features + 1], and tops, [layers]: see `network.h`; degrees: of all units,
      layer after layer.
    - blocks, [matrices, 3]: for each matrix the layer that it adds to, the layer that it reads,
      and its place among all weights of a transform.
    - residual: whether a hidden layer adds the one before.
    - activation, map: their numbers; bound: of an affine map's log-scale; input_bound: of what is
      read of features, infinite for none.
    - tensors, [transforms, 4]: the addresses of the features in the order in which they are taken,
      or 0 for that in which they come; of the biases, [units]; of the matrices, [weights]; and of
      what a context adds to the first layer, [batch, units], or 0.

    The forward pass.

    - value, [batch, features]: what is mapped; result: what it is mapped to.
    - ladj, [batch]: the log-determinants.
    - keep: whether what the backward pass needs is kept.
    - kept, [transforms, tiles, units, columns]: if so, the pre-activations and the parameters.
    - steps, [transforms + 1, tiles, features, columns]: if so, the features before the first
      transform, and after each.

    The backward pass.

    - bar, [batch, features]: cotangents of what came out of the last transform; bar_ladj, [batch]:
      those of the log-determinants.
    - bar_value: those of what was mapped; bar_offsets, [transforms, batch, units]: those of what a
      context adds, or 0.
    - bars, [tiles, units, columns]: those of the pre-activations and parameters of one transform;
      where gradients are taken transform by transform, after them their sums, [tiles, units], and
      those of the features, [tiles, features, columns].
    - gradients, [transforms, units + weights]: those of the biases and of the matrices.
    - tasks, [pieces, 3]: panels of matrices: which matrix, the first unit, and whether it is one of
      the target; after the last matrix, the biases.
    - shares: the number of parts of the batch that have gradients of their own in partial,
      [shares, transforms, units + weights]; 0 where gradients are taken transform by transform.
      sums: the number of pieces in which they are added up.

    What threads write: the numbers of pieces of work that are taken and done, and whether one of
    them could not be done.
    """

    _fields_ = [
        *((name, ctypes.c_int64) for name in _NAMES),
        ("bound", ctypes.c_double),
        ("input_bound", ctypes.c_double),
        ("taken", ctypes.c_int64),
        ("done", ctypes.c_int64),
        ("failed", ctypes.c_int64),
    ]
