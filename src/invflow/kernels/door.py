"""The only entry to the kernels: whether a transform has any, and whether they take a call.

All decisions are made here. CPU kernels read plain memory by address and do not call modules. So
they take neither other kinds of tensors nor modules with hooks, and no calls that are traced or
mapped, under autocast or in forward-mode differentiation. For these, and on CUDA, the inverse of a
single transform can use operators, which PyTorch can trace. Everything else runs in PyTorch.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from invflow import _torch
from invflow._overrides import overridden
from invflow._torch import dense
from invflow.conditioners import MADE, Conditioner
from invflow.conditioners.sweep import MADEPlan
from invflow.kernels import operators
from invflow.kernels.cpu import library
from invflow.kernels.dense import check_memory
from invflow.kernels.structure import Kind, Link
from invflow.univariate import Additive, Affine, Gated, Spline, Univariate

#: The devices and precisions that the kernels support.
_DTYPES = {
    "cpu": (torch.float32, torch.float64),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}
#: What the kernels need on each kind of device.
_NEEDS = {
    "cpu": "the C library, which is compiled when invflow is installed",
    "cuda": "Triton 3.5, which PyTorch 2.9 for CUDA brings: pip install triton",
}
#: The maps with kernels, and their names there.
_MAPS: dict[type[Univariate], str] = {
    Additive: "additive",
    Affine: "affine",
    Gated: "gated",
    Spline: "spline",
}
#: The largest number of bins of a spline with kernels: `MOST_BINS` in `c/spline.h`.
_MOST_BINS = 32


class Served(Protocol):
    """A transform, as this module sees it."""

    features: int
    #: The kind of transform that the kernels see.
    kernel: Kind | None
    #: "auto", or "compiled", which raises an error if the kernels cannot run.
    inverse_method: str
    _modules: Any
    _buffers: Any


def refusal(conditioner: Conditioner, univariate: Univariate) -> str | None:
    """Return why there are no kernels for this pair; None if there are."""
    name = type(conditioner).__name__
    if not isinstance(conditioner, MADE) or conditioner.layout.norm or _map(univariate) is None:
        return f"{name} and {univariate!r}"
    if changed := conditioner.changed(MADE):
        return f"{name}, which has a {changed[0]} of its own"
    activation = conditioner.layout.activation
    return None if activation in _activations() else f"{name} with activation {activation!r}"


def serves(conditioner: Conditioner, univariate: Univariate) -> bool:
    """Return whether there are kernels for this pair."""
    return refusal(conditioner, univariate) is None


def kind(conditioner: Conditioner, univariate: Univariate, input_bound: float) -> Kind | None:
    """Return the kind of a transform for the kernels; None if there are none for it."""
    if not serves(conditioner, univariate):
        return None
    plan = cast(MADEPlan, cast(MADE, conditioner).plan)
    return Kind(plan, univariate, input_bound, cast(str, _map(univariate)))


def _map(univariate: Univariate) -> str | None:
    """Return the recipe of a map for the kernels; None if they do not support it."""
    for base, name in _MAPS.items():
        if isinstance(univariate, base):
            fields = {
                field.name: getattr(univariate, field.name) for field in dataclasses.fields(base)
            }
            silent = {*fields, "start", "location", "base", "config"}
            others = univariate.parameters != base(**fields).parameters
            many = isinstance(univariate, Spline) and univariate.bins > _MOST_BINS
            if others or many or overridden(univariate, base, object, silent):
                return None
            return json.dumps({"name": name, **fields}, sort_keys=True)
    return None


def usable(device: str) -> bool:
    """Return whether the kernels for a kind of device can run."""
    return reason(device) is None


# Like torch.compiler.assume_constant_result, which would load the compiler.
cast(Any, usable)._dynamo_marked_constant = True


@cache
def reason(device: str) -> str | None:
    """Return why the kernels for a kind of device cannot be used; None if they can."""
    if _torch.MISSING:
        return _torch.MISSING
    if device == "cpu":
        return library.reason()
    if not torch.cuda.is_available():
        return "no CUDA device"
    try:
        operators.engine(device)
    except ModuleNotFoundError as error:  # not installed, which is fine
        return str(error)
    except Exception as error:  # installed but broken
        warnings.warn(
            f"the kernels for {device} cannot be used, so PyTorch runs instead: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return str(error)
    return None


def check(conditioner: Conditioner, univariate: Univariate) -> None:
    """Check that there are kernels for a pair, and for a device of this machine.

    Raises:
        ValueError: if there are none for the pair.
        ImportError: if what they need is not installed.
    """
    if why := refusal(conditioner, univariate):
        raise ValueError(
            'inverse="compiled" needs an affine, gated or additive map, or a spline with at most '
            f"{_MOST_BINS} bins, and a MADE without norm, "
            f"with one of the activations {', '.join(_activations())}, got {why}"
        )
    if not any(usable(device) for device in _DTYPES):
        raise _unusable("cpu")


def _unusable(device: str) -> ImportError:
    return ImportError(f'inverse="compiled" needs {_NEEDS[device]} ({reason(device)})')


def map(
    parts: Sequence[Served], value: Tensor, context: Tensor | None, *, inverse: bool
) -> tuple[Tensor, Tensor] | None:
    """Map a batch through transforms of one kind in one call; None if kernels do not take it.

    Args:
        parts: the transforms, in the order of evaluation.
        value: z or x, shape (*batch, features).
        context: the context of all of them, or None.
        inverse: whether to map x to z.

    Returns:
        x or z, shaped like `value`, and log-determinants, of shape `batch`; differentiable with
        respect to all tensors.

    Raises:
        ImportError: if the inverse is "compiled", and what the kernels need is not installed.
        ValueError: if the inverse is "compiled" and the kernels do not take this device or
            precision, a storage has been freed or cut, or a tensor has another shape or precision.
    """
    if (links := _chain(parts, value, context)) is not None:
        batch, alike = value.shape[:-1], cast(Kind, parts[0].kernel)
        result, ladj = _eager().run(alike, links, _rows(value), inverse)
        return (result, ladj) if len(batch) == 1 else (result.view(value.shape), ladj.view(batch))
    return _swept(parts[0], value, context) if inverse and len(parts) == 1 else None


def push(
    parts: Sequence[Served], z: Tensor, score: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Map noise and its score through transforms of one kind; None if kernels do not take it.

    Args:
        parts: the transforms, in the order of evaluation.
        z: noise, shape (*batch, features).
        score: gradient of its log density, shaped like `z`.
        context: the context of all of them, or None.

    Returns:
        x and log-determinants, as for `map`; and the gradient of the log density of x, shaped like
        `z`, without a graph.
    """
    links = _chain(parts, z, context)
    if links is None or not dense(score) or score.dtype is not z.dtype:
        return None
    alike = cast(Kind, parts[0].kernel)
    x, ladj, pushed = _eager().push(alike, links, _rows(z), _rows(score))
    return x.view(z.shape), ladj.view(z.shape[:-1]), pushed.view(z.shape)


def _rows(value: Tensor) -> Tensor:
    """Return vectors, shape (*batch, features), with one batch dimension."""
    return value if value.dim() == 2 else value.reshape(-1, value.shape[-1])


def _chain(parts: Sequence[Served], value: Tensor, context: Tensor | None) -> list[Link] | None:
    """Return the tensors of transforms, if the CPU kernels can read all and a batch by address."""
    if not (_torch.plain() and usable("cpu")):
        return None
    if not (value.is_cpu and value.dtype in _DTYPES["cpu"] and dense(value)):
        return None
    if context is not None:
        if not dense(context):
            return None
        check_memory("context", context)  # PyTorch reads it
    batch = value.shape[:-1]
    links: list[Link] = []
    for part in parts:
        tensors = _readable(part, batch, context)
        if tensors is None:
            return None
        links.append(tensors)
    return links


@cache
def _activations() -> Sequence[str]:
    """Return the activations with kernels."""
    from invflow.kernels.cpu.chain import ACTIVATIONS

    return ACTIVATIONS


@cache
def _eager() -> Any:
    """Return the CPU kernels, loading them on first use."""
    from invflow.kernels.cpu import eager

    return eager


def _readable(part: Served, batch: torch.Size, context: Tensor | None) -> Link | None:
    """Return a transform's tensors if all can be read by address."""
    made: MADE = part._modules["conditioner"]
    if _torch.hooked(made):
        return None
    if context is not None and (weight := made.context_weight) is not None:
        if not dense(weight):
            return None
        check_memory("context_weight", weight)  # PyTorch reads it for the link
    tensors = order, bias, weight, offset = link(part, batch, context)
    known = (
        dense(weight)
        and dense(bias)
        and (order is None or dense(order) or not order.is_cpu)  # on other devices it is rejected
        and (offset is None or dense(offset))
    )
    return tensors if known else None


def link(part: Served, batch: torch.Size, context: Tensor | None) -> Link:
    """Return a transform's tensors in the form for kernels, for a batch of this shape."""
    made: MADE = part._modules["conditioner"]
    bias, weight = made.vectors()
    offset = None if context is None else made.shift(context)
    if offset is not None:
        offset, units = offset.to(weight.dtype), offset.shape[-1]
        if offset.numel() == units:  # the whole batch shares a context
            if _is_whole(bias, made, weight.dtype):  # otherwise the kernels refuse it
                bias = torch.cat([bias[:units] + offset.flatten(), bias[units:]])
            offset = None
        else:
            offset = offset.expand(*batch, -1).reshape(math.prod(batch), units)
    return Link(part._buffers["order"], bias, weight, offset)


def _is_whole(bias: Tensor, made: MADE, dtype: torch.dtype) -> bool:
    """Return whether biases are those of a conditioner.

    Raises:
        ValueError: if their storage has been freed or cut.
    """
    if dense(bias):
        check_memory("bias", bias)
    return bias.dtype is dtype and bias.shape == (
        sum(len(layer) for layer in made.layout.degrees[1:]),
    )


def _swept(part: Served, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """Invert one transform with operators, which can be traced."""
    made: MADE = part._modules["conditioner"]
    alike = cast(Kind, part.kernel)
    takes = _takes(x.device, made.bias.dtype, part.inverse_method, alike.univariate)
    if _torch.hooked(made) or not takes:
        return None
    offset, weights = made.pack(x.shape[:-1], context)
    rows = x.reshape(math.prod(x.shape[:-1]), part.features).to(offset.dtype)
    z, ladj = operators.solve(alike, part._buffers["order"], offset, weights, rows)
    return z.reshape(x.shape).to(x.dtype), ladj.reshape(x.shape[:-1]).to(x.dtype)


def _takes(device: torch.device, dtype: torch.dtype, inverse: str, univariate: Univariate) -> bool:
    """Return whether the operators support a device, a precision and a map.

    On an accelerator only if requested, until `benchmarks/gpu.py` has shown where they are faster.
    Not for `torch.export`, whose programs must run without this library.
    """
    if torch.compiler.is_exporting():
        return False
    named, place = inverse == "compiled", device.type
    if not named and place != "cpu":
        return False
    is_spline = isinstance(univariate, Spline)
    served = dtype in _DTYPES.get(place, ()) and (place == "cpu" or not is_spline)
    if named and not served:
        raise ValueError(
            'inverse="compiled" needs a CPU and single or double precision, or '
            f"CUDA{' and another map than a spline' * is_spline}, got {dtype} on {device}"
        )
    if named and not usable(place):
        raise _unusable(place)
    return served and usable(place)
