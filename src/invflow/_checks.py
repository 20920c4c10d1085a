"""Argument checks: every message names the argument, what was given and what was expected."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from invflow._broadcast import broadcast


def positive_integer(name: str, value: Any, *, minimum: int = 1) -> int:
    """Return `value` as an int if it is an integer (of any library) and at least `minimum`.

    Raises:
        TypeError: if `value` is not an integer.
        ValueError: if `value` is too small.
    """
    found = integer(name, value)
    if found < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {found}")
    return found


def integer(name: str, value: Any) -> int:
    """Return `value` as an int if it is an integer (of any library).

    Raises:
        TypeError: if `value` is something else.
    """
    boolean = isinstance(value, bool) or getattr(value, "dtype", None) == torch.bool
    if (
        not boolean and getattr(value, "ndim", 0) == 0
    ):  # PyTorch also accepts a tensor with one entry
        try:
            return operator.index(value)
        except (TypeError, RuntimeError):
            pass
    raise TypeError(f"{name} must be an integer, got {value!r}")


def number(name: str, value: Any) -> float:
    """Return `value` as an int or a float if it is a number (of any library).

    Raises:
        TypeError: if `value` is not a number.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        return int(value) if isinstance(value, Integral) else float(value)
    raise TypeError(f"{name} must be a number, got {value!r}")


def positive(name: str, value: Any) -> float:
    """Return `value` as an int or a float if it is positive and finite.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is zero, negative, infinite or NaN.
    """
    found = number(name, value)
    if not 0 < found < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")
    return found


def fraction(name: str, value: Any) -> float:
    """Return `value` as a float if it is between 0 and 1, bounds excluded.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is out of range.
    """
    found = number(name, value)
    if not 0 < found < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")
    return found


def numbers(name: str, value: Any) -> tuple[float, ...]:
    """Return `value` as floats if it is a sequence of one or more finite numbers.

    Raises:
        TypeError: if `value` is something else.
        ValueError: if `value` is empty, or a number is not finite.
    """
    given = value.tolist() if isinstance(value, Tensor | np.ndarray) else value
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{name} must be a sequence of numbers, got {value!r}")
    each = enumerate(cast(Sequence[Any], given))
    found = tuple(float(number(f"{name}[{i}]", entry)) for i, entry in each)
    if not found or not all(map(math.isfinite, found)):
        raise ValueError(f"{name} must be one or more finite numbers, got {value!r}")
    return found


def boolean(name: str, value: Any) -> bool:
    """Return `value` as a bool if it is True or False.

    Raises:
        TypeError: if `value` is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def settle(instance: Any, **fields: Any) -> None:
    """Set fields of a frozen dataclass, in its `__post_init__`, to checked values."""
    for name, value in fields.items():
        object.__setattr__(instance, name, value)


def plain(value: Any) -> Any:
    """Return numbers and booleans of other libraries as Python's own, for JSON.

    This includes those in sequences and mappings. Sequences become lists; anything else is
    unchanged.

    Example:
        >>> plain({"transforms": np.int64(2), "hidden_features": (np.int32(8), 8), "base": None})
        {'transforms': 2, 'hidden_features': [8, 8], 'base': None}
    """
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, np.ndarray) or _is_one_integer(value):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(each) for each in cast(Sequence[Any], value)]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def _is_one_integer(value: Any) -> bool:
    """Return whether a tensor is a single integer."""
    if not isinstance(value, Tensor) or value.ndim > 0:
        return False
    return not (value.dtype.is_floating_point or value.dtype.is_complex)


def widths(name: str, value: Any) -> tuple[int, ...]:
    """Return `value` as a tuple of layer widths, each at least 1; may be empty."""
    return tuple(positive_integer(label, each) for label, each in _entries(name, value))


def places(name: str, value: Any, features: int) -> tuple[int, ...]:
    """Return `value` as a tuple of one or more different indices below `features`."""
    found = tuple(integer(label, each) for label, each in _entries(name, value))
    if not found or len({*found}) < len(found) or min(found) < 0 or max(found) >= features:
        raise ValueError(
            f"{name} must be one or more different features below {features}, got {list(found)}"
        )
    return found


def _entries(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a sequence of integers, each with its name for errors."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a sequence of integers, got {value!r}")
    for i, each in enumerate(cast(Iterable[Any], value)):
        yield f"{name}[{i}]", each


def shape(name: str, value: Any) -> tuple[int, int, int]:
    """Return `value` as the channels, height and width of an image or of maps."""
    sizes = widths(name, value)
    if len(sizes) != 3:
        raise ValueError(f"{name} must be (channels, height, width), got {sizes}")
    return sizes[0], sizes[1], sizes[2]


def sample_shape(value: Any) -> torch.Size:
    """Return a sequence of sizes as the sample shape of a torch distribution."""
    try:
        sizes = torch.Size(value)
    except TypeError as error:
        example = f"({value},)" if isinstance(value, Integral) else "(5,)"
        raise TypeError(f"sample_shape must be a shape such as {example}, got {value!r}") from error
    if any(size < 0 for size in sizes):
        raise ValueError(f"sample_shape must have sizes of at least 0, got {tuple(sizes)}")
    return sizes


def choice(name: str, value: Any, known: Iterable[str]) -> str:
    """Return `value` if it is one of the `known` names."""
    names = sorted(known)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, names))}, got {value!r}")
    return value


def permutation(name: str, value: Sequence[int] | Tensor, features: int) -> Tensor:
    """Return `value` as a LongTensor if it is a permutation of 0 .. features - 1.

    For a tensor without values, as under `torch.device("meta")`, only the shape is checked.
    """
    if not isinstance(value, Tensor):
        places = [integer(label, each) for label, each in _entries(name, value)]
        if sorted(places) != list(range(features)):
            raise ValueError(f"{name} {_not_the_features(places, features)}")
        return torch.tensor(places, dtype=torch.long)
    if value.ndim == 0:
        raise TypeError(f"{name} must be a sequence of integers, got {value!r}")
    if value.dtype.is_floating_point or value.dtype.is_complex or value.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got dtype {value.dtype}")
    if flaw := no_permutation(value, features):
        raise ValueError(f"{name} {flaw}")
    return value.to(torch.long, copy=True)


def no_permutation(order: Tensor, features: int) -> str | None:
    """Return why numbers are not a permutation of 0 .. features - 1; None if they are."""
    if not has_values(order):
        found: Any = tuple(order.shape)
        return None if found == (features,) else _not_the_features(f"shape {found}", features)
    whole = not (order.is_floating_point() or order.is_complex())
    if whole and order.ndim == 1 and sorted(order.tolist()) == list(range(features)):
        return None
    return _not_the_features(order.tolist(), features)


def _not_the_features(found: Any, features: int) -> str:
    return f"must be a permutation of 0 .. {features - 1}, got {found}"


def has_values(tensor: Tensor) -> bool:
    """Return whether a tensor has values: it is neither on "meta" nor a fake tensor."""
    return not tensor.is_meta and type(tensor) in (Tensor, nn.Parameter)


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
    """Check a tensor of events, (*batch, features), against the module's `like` tensor.

    Under autocast the dtype may differ from the module's.

    Raises:
        TypeError: if `value` is not a tensor, or has another dtype.
        ValueError: if `value` has the wrong number of features, or is on another device.
    """
    _tensor(name, value, features, "features", like)


def context(
    value: Tensor | None,
    size: int,
    batch_shape: torch.Size,
    like: Tensor | None = None,
    name: str = "context",
) -> None:
    """Check a context against the declared `size` and the batch shape it must broadcast to.

    The error calls it `name`.

    Raises:
        TypeError: if `value` is not a tensor, or has another dtype.
        ValueError: if `value` is missing, not wanted, of the wrong size, on another device, or does
            not broadcast.
    """
    if size == 0:
        if value is not None:
            raise ValueError(
                f"{name} must be None, because none was declared ({name}=0), got a "
                f"{type(value).__name__} of shape {tuple(getattr(value, 'shape', ()))}"
            )
        return
    if value is None:
        raise ValueError(f"{name} of shape (*batch, {size}) is required, got None")
    _tensor(name, value, size, f"the declared {name} size", like)
    try:
        fits = broadcast(value.shape[:-1], batch_shape) == batch_shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} must broadcast to the batch shape {tuple(batch_shape)}, "
            f"got batch shape {tuple(value.shape[:-1])}"
        )
