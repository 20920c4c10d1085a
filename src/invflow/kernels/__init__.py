"""Both directions of an affine, gated or additive MADE, and their gradients, compiled.

On a CPU (`cpu`) one call runs a chain of transforms: each thread takes tiles of the batch through
all of them, and their activations stay in the processor's cache.

Where calls are traced or mapped, and on CUDA, the inverse is made of `operators` on plain tensors,
one for each sweep. On CUDA (`gpu`, with Triton) that is one launch, in which each program takes its
columns of the batch through all features.

Whether any of this runs is decided in one place, `door`: `serves` says whether there are kernels
for a transform, when it is made, and `map` takes a call, or returns None.
"""

from invflow.kernels.door import (
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
