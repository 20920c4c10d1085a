"""Both directions of an affine, gated or additive MADE, and their gradients, compiled.

On a CPU (`cpu`) one call takes a chain of transforms: each thread takes tiles of the batch through
all of them, and their activations stay in the processor's cache.

Where calls are traced or mapped, and on CUDA, the inverse is made of `operators` on plain tensors,
one for a sweep: on CUDA (`gpu`, with Triton) each program does so for its columns of the batch, in
one launch.

Whether any of this runs is decided behind one door, `door`: `serves` tells when a transform is made
whether there are kernels for it, and `map` takes a call, or does not.
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
