"""Argument checks: every message names the argument, what came, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from invflow._broadcast import broadcast


def positive_integer(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return `value` if it is an integer of at least `minimum`.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is too small.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return value


def number(name: str, value: Any) -> float:
    """Return `value` if it is a number.

    Raises:
        TypeError: `value` is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return value


def boolean(name: str, value: Any) -> bool:
    """Return `value` if it is True or False.

    Raises:
        TypeError: `value` is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def widths(name: str, value: Any) -> tuple[int, ...]:
    """Return `value` as a tuple of layer widths, each at least 1 (an empty one means no layer)."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a sequence of integers, got {value!r}")
    return tuple(positive_integer(f"{name}[{i}]", width) for i, width in enumerate(value))


def shape(name: str, value: Any) -> tuple[int, int, int]:
    """Return the channels, height and width of an image or of maps."""
    sizes = widths(name, value)
    if len(sizes) != 3:
        raise ValueError(f"{name} must be (channels, height, width), got {sizes}")
    return sizes[0], sizes[1], sizes[2]


def choice(name: str, value: Any, known: Iterable[str]) -> str:
    """Return `value` if it is one of the `known` names."""
    names = sorted(known)
    if value not in names:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, names))}, got {value!r}")
    return value


def permutation(name: str, value: Sequence[int] | Tensor, features: int) -> Tensor:
    """Return `value` as a LongTensor if it is a permutation of 0 .. features - 1."""
    try:
        # On the CPU, as under `torch.device("meta")` others have no values to be checked.
        order = value if isinstance(value, Tensor) else torch.as_tensor(value, device="cpu")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a sequence of integers, got {value!r}") from error
    if order.ndim == 0:
        raise TypeError(f"{name} must be a sequence of integers, got {value!r}")
    integers = not (order.dtype.is_floating_point or order.dtype.is_complex)
    if len(order) and (not integers or order.dtype == torch.bool):
        raise TypeError(f"{name} must hold integers, got dtype {order.dtype}")
    if flaw := no_permutation(order, features):
        raise ValueError(f"{name} {flaw}")
    # Where tensors are made.
    device = order.device if isinstance(value, Tensor) else torch.get_default_device()
    return order.to(device, torch.long, copy=True)


def no_permutation(order: Tensor, features: int) -> str | None:
    """Return why integers are not a permutation of 0 .. features - 1, None if they are."""
    if order.ndim == 1 and sorted(order.tolist()) == list(range(features)):
        return None
    return f"must be a permutation of 0 .. {features - 1}, got {order.tolist()}"


def _tensor(name: str, value: Any, size: int, what: str, like: Tensor | None) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}")
    if not value.dtype.is_floating_point:
        raise TypeError(f"{name} must have a floating-point dtype, got {value.dtype}")
    if value.ndim == 0 or value.shape[-1] != size:
        raise ValueError(
            f"{name} must have shape (*batch, {size}), the last dimension being {what}, "
            f"got {tuple(value.shape)}"
        )
    if like is None:
        return
    if value.device != like.device:
        raise ValueError(f"{name} must be on the module's device {like.device}, got {value.device}")
    if value.dtype == like.dtype:
        return
    castable = torch.float64 not in (value.dtype, like.dtype)
    if not (castable and torch.is_autocast_enabled(value.device.type)):
        raise TypeError(f"{name} must have the module's dtype {like.dtype}, got {value.dtype}")


def event(name: str, value: Tensor, features: int, like: Tensor | None = None) -> None:
    """Check a tensor of events, shape (*batch, features), against the module's `like` tensor.

    Under autocast the dtype may differ from the module's.

    Raises:
        TypeError: not a tensor, or of another dtype.
        ValueError: wrong number of features, or on another device.
    """
    _tensor(name, value, features, "features", like)


def context(
    value: Tensor | None, size: int, batch_shape: torch.Size, like: Tensor | None = None
) -> None:
    """Check a context against the declared `size` and the batch shape it is to broadcast to.

    Raises:
        TypeError: not a tensor, or of another dtype.
        ValueError: missing, not wanted, of the wrong size, not broadcastable, on another device.
    """
    if size == 0:
        if value is not None:
            raise ValueError(
                "context must be None, as none was declared (context=0), got a "
                f"{type(value).__name__} of shape {tuple(getattr(value, 'shape', ()))}"
            )
        return
    if value is None:
        raise ValueError(f"context of shape (*batch, {size}) is required, got None")
    _tensor("context", value, size, "the declared context size", like)
    try:
        fits = broadcast(value.shape[:-1], batch_shape) == batch_shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"context must broadcast to the batch shape {tuple(batch_shape)}, "
            f"got batch shape {tuple(value.shape[:-1])}"
        )
