"""Models from the weights of a run, which are compared before anything large is made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from invflow.vae.base import LatentModel
from invflow.vae.build import build
from invflow.vae.config import Config, Format

#: To build a model takes at most so many times the numbers that it has, and so many more.
TIMES, MORE = 64, 2**22
#: Functions that are given the size of what they make.
FILLED = ("empty", "zeros", "ones", "full", "rand", "randn")


def loaded(config: Config, format: Format, state: Mapping[str, Tensor]) -> dict[str, LatentModel]:
    """Return the models of a run, by posterior, in evaluation mode.

    Settings and images are compared with the weights before memory is taken for them.

    Args:
        config: the settings.
        format: of the images.
        state: the weights, each name behind that of the posterior and a dot.

    Raises:
        ValueError: the weights are not those of these models, or not all finite.
    """
    _check_sizes(config, format, state)
    numbers = sum(tensor.numel() for tensor in state.values())
    with _Within(TIMES * numbers + MORE):
        models = build(config, format)
    expected = {
        f"{posterior}.{name}": tensor
        for posterior, model in models.items()
        for name, tensor in model.state_dict().items()
    }
    if different := sorted(expected.keys() ^ state.keys()):
        raise ValueError(f"the weights and the settings do not agree on {different[0]!r}")
    for name, tensor in expected.items():
        if (tensor.shape, tensor.dtype) != (state[name].shape, state[name].dtype):
            raise ValueError(
                f"the weights {name!r} must have shape {tuple(tensor.shape)} and {tensor.dtype}, "
                f"got {tuple(state[name].shape)} and {state[name].dtype}"
            )
        if tensor.is_floating_point() and not state[name].isfinite().all():
            raise ValueError(f"the weights {name!r} must be finite, got NaN or infinity")
    for posterior, model in models.items():
        prefix = f"{posterior}."
        model.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        model.eval()
    return models


def _check_sizes(config: Config, format: Format, state: Mapping[str, Tensor]) -> None:
    """See that there are weights enough for the layers, which all have some, and for their widths.

    Raises:
        ValueError: there are not.
    """
    numbers = sum(tensor.numel() for tensor in state.values())
    hidden, flow_hidden = config.hidden or (), config.flow_hidden or ()
    layers = {
        "depths": sum(config.depths),
        "flow_steps": config.flow_steps or 0,
        "hidden": len(hidden),
        "flow_hidden": len(flow_hidden),
    }
    widths = {
        "latents": config.latents,
        "context": config.context,
        "features": config.features,
        "maps": config.maps,
        "hidden": max(hidden, default=0),
        "flow_hidden": max(flow_hidden, default=0),
        "shape": format.shape[0],
    }
    for sizes, most in ((layers, len(state)), (widths, numbers)):
        for name, size in sizes.items():
            if size > most:
                raise ValueError(f"{name} asks for {size} weights or more, and there are {most}")


class _Within(TorchFunctionMode):
    """Refuses to make more than so many numbers, before they take memory."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = {} if kwargs is None else kwargs
        self.left -= _numbers(getattr(func, "__name__", ""), args, options)
        if self.left < 0:
            raise ValueError("its settings make a larger model than there are weights for")
        return func(*args, **options)


def _numbers(name: str, args: Sequence[Any], options: Mapping[str, Any]) -> int:
    """Return how many numbers a function of torch gives, or about so many, before it is called."""
    if args and name.startswith("new_"):
        args = args[1:]
    if name.removeprefix("new_") in FILLED:
        size = options.get("size", args[0] if args and not isinstance(args[0], int) else args)
        return math.prod(size)
    if name in ("arange", "linspace", "randperm", "eye"):
        end = max((abs(value) for value in args if isinstance(value, int | float)), default=0)
        return int(end) ** (2 if name == "eye" else 1)
    tensors = [value for value in tree_iter(args) if isinstance(value, Tensor)]
    times = math.prod(value for value in args[1:] if isinstance(value, int))
    try:
        numbers = math.prod(torch.broadcast_shapes(*(tensor.shape for tensor in tensors)))
    except RuntimeError:
        numbers = sum(tensor.numel() for tensor in tensors)
    return numbers * times if name in ("repeat", "tile", "repeat_interleave") else numbers
