"""Checks of encoders and decoders that are a user's own modules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from invflow._modes import evaluating

#: Rows of the batch with which a network is tried.
ROWS = 2


def pair(network: Any) -> tuple[nn.Module, nn.Module]:
    """Return an encoder and a decoder.

    Raises:
        TypeError: if `network` is anything else.
    """
    parts = tuple(cast(Iterable[Any], network)) if isinstance(network, Iterable) else ()
    if len(parts) != 2 or not all(isinstance(each, nn.Module) for each in parts):
        functions = [each for each in (network, *parts) if _is_function(each)]
        remedy = "; call functions from the forward method of an nn.Module" if functions else ""
        raise TypeError(
            "network must be a name, or an encoder and a decoder (two modules), "
            f"got {_described(network)}{remedy}"
        )
    return parts


def output(name: str, found: Any, shape: Sequence[int], what: str, remedy: str) -> Tensor:
    """Return the output of a network, if it has the right shape.

    Args:
        name: name of the network.
        found: its output.
        shape: the expected shape, with the number of rows of its input.
        what: the dimensions, as text.
        remedy: how to get that shape.

    Raises:
        TypeError: if it is not a tensor of floating-point numbers.
        ValueError: if it has another shape.
    """
    if not isinstance(found, Tensor):
        raise TypeError(
            f"{name} must return one tensor, {what}, got a {type(found).__name__}; "
            "return that tensor alone"
        )
    if not found.is_floating_point():
        raise TypeError(
            f"{name} must return floating-point numbers, {what}, got {found.dtype}; "
            "do not round or index them"
        )
    if found.shape != tuple(shape):
        raise ValueError(
            f"{name} must return shape {tuple(shape)}, {what}, for {shape[0]} rows, "
            f"got {tuple(found.shape)}; {remedy}"
        )
    return found


def tried(name: str, network: nn.Module, sizes: Sequence[int], takes: str) -> Any:
    """Return the output of a network for `ROWS` rows of zeros, in evaluation mode.

    Args:
        name: name of the network.
        network: the network.
        sizes: of its inputs; it does not have those of size 0.
        takes: what it must take and return, as text.

    Raises:
        ValueError: if it fails.
    """
    like = next(network.parameters(), torch.zeros(0))
    inputs = [
        torch.zeros(ROWS, size, dtype=like.dtype, device=like.device) for size in sizes if size
    ]
    devices = [like.device] if like.is_cuda else []
    with torch.no_grad(), torch.random.fork_rng(devices), evaluating(network):
        try:
            return network(*inputs)
        except Exception as error:  # a user's module may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            shapes = " and ".join(str(tuple(each.shape)) for each in inputs)
            raise ValueError(
                f"{name} fails on an input of shape {shapes}: {reason}; it must {takes}"
            ) from error


def check_places(parts: dict[str, nn.Module]) -> None:
    """Check that the weights of all parts of a model have one dtype and are on one device.

    Raises:
        ValueError: if they do not.
    """
    first = {name: next(part.parameters(), None) for name, part in parts.items()}
    places = {
        name: f"{weight.dtype} on {weight.device}"
        for name, weight in first.items()
        if weight is not None
    }
    if len(set(places.values())) > 1:
        got = ", ".join(f"{place} in the {name}" for name, place in places.items())
        raise ValueError(
            f"network, posterior, prior and likelihood must have one dtype and device, got {got}; "
            "convert the model with .to(dtype) and .to(device)"
        )


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, nn.Module | type | str)


def _described(value: Any) -> str:
    """Return modules and functions by their kind, in one line; anything else as it is."""
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_described, cast(Iterable[Any], value)))})"
    if isinstance(value, nn.Module) or _is_function(value):
        return type(value).__name__
    return repr(value)
