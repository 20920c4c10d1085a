"""Both directions of an affine, gated or additive MADE, and their gradients, compiled.

On a CPU (`cpu`, with Numba) one call takes a chain of transforms: each thread takes tiles of the
batch through all of them, and their activations stay in the processor's cache. Compiled at the
first use and kept on disk.

Where calls are traced or mapped, and on CUDA, the inverse is made of `operators` on plain tensors,
one for a sweep: on CUDA (`gpu`, with Triton) each program does so for its columns of the batch, in
one launch.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor

from invflow.conditioners import MADE, Conditioner, network
from invflow.conditioners.soft_clip import soft_clip
from invflow.conditioners.sweep import MADEPlan
from invflow.inverses.decode import Method, call
from invflow.kernels import operators
from invflow.kernels.structure import Link
from invflow.univariate import Additive, Affine, Gated, Univariate

__all__ = [
    "DTYPES",
    "Link",
    "plain",
    "reason",
    "run",
    "runs",
    "serves",
    "solve",
    "usable",
]


#: The devices that there are kernels for, and the precisions that they take.
DTYPES = {
    "cpu": (torch.float32, torch.float64),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}


def serves(conditioner: Conditioner, univariate: Univariate) -> bool:
    """Return whether there are kernels for this pair."""
    maps = (Additive, Affine, Gated)
    return type(conditioner) is MADE and not conditioner.layout.norm and type(univariate) in maps


def usable(device: str) -> bool:
    """Return whether what the kernels for a kind of device need is there."""
    return reason(device) is None


# As torch.compiler.assume_constant_result does, which would load the compiler for it.
cast(Any, usable)._dynamo_marked_constant = True


@cache
def reason(device: str) -> str | None:
    """Return why the kernels for a kind of device cannot be used, None if they can."""
    if device == "cuda" and not torch.cuda.is_available():
        return "no CUDA device"
    try:
        operators.engine(device)
    except ModuleNotFoundError as error:  # not installed, which is no fault
        return str(error)
    except Exception as error:  # installed and broken, in whatever way
        warnings.warn(
            f"the kernels for {device} cannot be used, and PyTorch takes their place: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return str(error)
    return None


def plain() -> bool:
    """Return whether calls simply run: not traced, mapped, differentiated forwards or mixed."""
    inner: Any = torch._C  # pyright: ignore[reportPrivateUsage]
    return not (
        torch.compiler.is_compiling()
        or cast(Any, torch.jit).is_tracing()
        or inner._are_functorch_transforms_active()
        or inner._len_torch_dispatch_stack() > 0
        or torch.is_autocast_enabled("cpu")
        or cast(Any, torch.autograd.forward_ad)._current_level >= 0
    )


def runs() -> bool:
    """Return whether the kernels of the CPU can be called now."""
    return plain() and usable("cpu")


def run(
    method: Method, links: Sequence[Link], value: Tensor, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Map a batch through autoregressive transforms on a CPU, where calls are `plain`.

    Args:
        method: what the tensors of all of them mean.
        links: their tensors, in the order in which they are taken.
        value: z or x, [batch, features].
        inverse: the direction.

    Returns:
        x or z, [batch, features], and log-determinants, [batch]; differentiable with respect to
        all tensors.
    """
    from invflow.kernels.cpu import eager

    reference = partial(solve if inverse else _in_pytorch, method)
    return eager.run(eager.Job(method, inverse, reference), links, value)


def solve(method: Method, link: Link, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the z that one transform maps to `x`, and log|det dz/dx|, as torch can trace it."""
    order = torch.arange(x.shape[1], device=x.device) if link.order is None else link.order
    offset, weights = _packed(cast(MADEPlan, method.plan), link)
    z, ladj, _, _ = call(operators.Solve, method, order, x, offset.expand(len(x), -1).t(), *weights)
    return z, ladj


def _in_pytorch(method: Method, link: Link, z: Tensor) -> tuple[Tensor, Tensor]:
    order, plan = link.order, cast(MADEPlan, method.plan)
    z = z if order is None else z.index_select(1, order)
    offset, weights = _packed(plan, link)
    read = soft_clip(z, method.input_bound)
    params = network.outputs(plan.layout, read, offset, *plan.unpack(weights))
    x, ladj = method.univariate.forward(z, params.unflatten(1, (plan.layout.features, -1)))
    return x if order is None else x.index_select(1, order.argsort()), ladj.sum(1)


def _packed(plan: MADEPlan, link: Link) -> tuple[Tensor, list[Tensor]]:
    """Return a conditioner's offset, [units] or [batch, units], and the plan's weights."""
    layout = plan.layout
    first, *biases = layout.biases(link.bias)
    masks = (layout.mask(*block).to(link.weight) for block in layout.blocks)
    offset = first if link.offset is None else first + link.offset
    return offset, [*biases, *layout.matrices(link.weight), *masks]
