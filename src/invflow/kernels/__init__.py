"""Both directions of an affine, gated or additive MADE, and their gradients, compiled.

On a CPU (`cpu`) one call runs a chain of transforms: each thread takes tiles of the batch through
all of them, and their activations stay in the processor's cache.

Where calls are traced or mapped, and on CUDA, each sweep of an inverse is one of the `operators` on
plain tensors. On CUDA (`gpu`, with Triton) a sweep is one launch, in which each program takes some
columns of the batch.

Whether any of this runs is decided in one place, `door`: `kind` says what the kernels take a
transform for when it is made, and `map` runs a call, or returns None to leave it to PyTorch.
"""

from invflow.kernels.door import (
    DTYPES,
    check,
    kind,
    link,
    map,  # noqa: A004
    reason,
    serves,
    usable,
)
from invflow.kernels.structure import Kind, Link

__all__ = [
    "DTYPES",
    "Kind",
    "Link",
    "check",
    "kind",
    "link",
    "map",
    "reason",
    "serves",
    "usable",
]
