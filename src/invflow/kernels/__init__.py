"""Compiled code for both directions of a MADE with splines or simpler maps, and their gradients.

On a CPU (`cpu`), one call runs a chain of transforms: each thread takes tiles of the batch through
all of them, so their activations stay in the processor's cache.

If calls are traced or mapped, and on CUDA, the inverse uses `operators` on plain tensors, one for
each sweep. On CUDA (`gpu`, with Triton) each is a single launch, in which every program takes its
columns of the batch through all features.

One module, `door`, decides whether any of this runs: `serves` says whether there are kernels for a
transform when it is built, and `map` runs a call, or returns None.
"""

from invflow.kernels.door import (
    check,
    kind,
    link,
    map,  # noqa: A004
    push,
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
    "push",
    "reason",
    "serves",
    "usable",
]
