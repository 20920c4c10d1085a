"""Models built from a file's configuration: no larger than the tensors that were saved with it.

A configuration of 200 bytes can ask for any amount of memory and time. Tensors take up as much of a
file as of memory, so their sizes say how large the model can be.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

#: Building a model takes up to ten times its bytes, most of them for a moment. Allowed are this
#: many times the bytes of the state, and this many more.
TIMES, MORE = 40, 2**26
#: Building a model takes up to 40 operations for each of its tensors. Allowed are this many for
#: each of them, and this many more.
EACH, OTHERS = 200, 2**12
#: Sizes up to this one are not compared with the state.
SMALL = 2**16
TOO_LARGE = "the configuration describes a larger model than the saved tensors do"


@contextmanager
def sized_by(state: Mapping[str, Tensor], config: Any) -> Generator[None]:
    """Refuse to build a model that is far larger than a state, before it takes memory and time.

    Args:
        state: the tensors that the model will load, or their sizes, on the meta device.
        config: its configuration, from JSON.

    Raises:
        ValueError: if a size in the configuration, or what is built in the block, is too large.

    Example:
        >>> import invflow
        >>> state = invflow.IAF(2).state_dict()
        >>> with sized_by(state, {}):
        ...     invflow.IAF(2, hidden_features=(50_000, 50_000))
        Traceback (most recent call last):
        ValueError: the configuration describes a larger model than the saved tensors do
    """
    numbers = sum(tensor.numel() for tensor in state.values())
    _check(config, max(SMALL, numbers))
    size = sum(tensor.nbytes for tensor in state.values())
    with _Limited(TIMES * size + MORE, EACH * len(state) + OTHERS):
        yield


def check_fit(model: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Check that saved tensors have the names and the shapes of a model's.

    Args:
        model: the state of the model.
        saved: the tensors that it will load, or their sizes, on the meta device.

    Raises:
        ValueError: if they do not.
    """
    if lacking := sorted(model.keys() - saved.keys()):
        raise ValueError(f"the saved tensors lack {lacking[0]!r}")
    if unknown := sorted(saved.keys() - model.keys()):
        raise ValueError(f"the saved tensors hold {unknown[0]!r}, which the model does not have")
    for name, tensor in model.items():
        if tensor.shape != saved[name].shape:
            raise ValueError(
                f"{name} must have shape {tuple(tensor.shape)}, got {tuple(saved[name].shape)}"
            )


def _check(config: Any, most: int) -> None:
    if isinstance(config, Mapping):
        config = list(cast(Mapping[str, Any], config).values())
    if isinstance(config, list | tuple):
        for each in cast(list[Any], config):
            _check(each, most)
    elif isinstance(config, int) and abs(config) > most:
        raise ValueError(
            f"the configuration holds the size {config}, larger than all saved tensors together"
        )


class _Limited(TorchDispatchMode):
    """Limits the number of operations and of the bytes they allocate; refuses the first one beyond.

    Args:
        left: number of bytes that may be allocated.
        operations: number of operations.
    """

    def __init__(self, left: int, operations: int) -> None:
        super().__init__()
        self._left = left
        self._operations = operations

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # A hook that not every PyTorch asks: to skip its compiler it imports it, for a second.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self._operations -= 1
        expected = _most((args, kwargs))
        if expected > self._left:
            expected = _bytes(_tried(func, args, kwargs))
        if expected > self._left or self._operations < 0:
            raise ValueError(TOO_LARGE)
        made = func(*args, **kwargs)
        self._left -= _bytes(made)
        return made


def _tried(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what an operation would return, without the memory for it."""
    shapes: dict[str, Any] = {**tree_map(_shape, kwargs)}
    if any(argument.name == "device" for argument in func._schema.arguments):
        shapes["device"] = torch.device("meta")
    try:
        return func(*tree_map(_shape, args), **shapes)
    except (NotImplementedError, RuntimeError):  # its size depends on the numbers
        return None


def _bytes(made: Any) -> int:
    return sum(leaf.nbytes for leaf in tree_leaves(made) if isinstance(leaf, Tensor))


def _most(arguments: Any) -> float:
    """Return a number of bytes that the result of an operation cannot exceed."""
    sizes: list[float] = [8]
    for leaf in tree_leaves(arguments):
        if isinstance(leaf, Tensor):
            sizes.append(leaf.numel())
        elif isinstance(leaf, int | float) and not isinstance(leaf, bool):
            sizes.append(abs(leaf))
    return prod(size for size in sizes if size > 1)


def _shape(leaf: Any) -> Any:
    """Return a tensor without its numbers, and None for a generator, which is not needed then."""
    if isinstance(leaf, Tensor):
        return leaf.to("meta")
    return None if isinstance(leaf, torch.Generator) else leaf
