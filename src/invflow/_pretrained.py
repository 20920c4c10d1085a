"""Models rebuilt from what was saved, and checks that what is saved will rebuild them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from invflow import _saving
from invflow._saving import Saved
from invflow._sized import check_fit, sized_by

ModelT = TypeVar("ModelT", bound=nn.Module)

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def restored(
    saved: Saved, what: str, build: Callable[[], ModelT], device: str | torch.device
) -> ModelT:
    """Return a model that was saved.

    Args:
        saved: what is on disk.
        what: the model, with its article, for errors.
        build: returns the model that the configuration describes.
        device: where to put it.

    Raises:
        OSError: if a file cannot be read, or does not fit into memory.
        ValueError: if a file is damaged, or the two do not fit together.
    """
    with _saving.fitting(saved.directory, what):
        # Loading must not draw from the global random generator.
        with torch.random.fork_rng(devices=[]), sized_by(saved.sizes, saved.config):
            model = build()
        dtypes = _dtypes(saved.sizes)
        model.to(dtype=next(iter(dtypes), None))
        check_fit(model.state_dict(), saved.sizes)
        _check_one(dtypes)
    state = saved.tensors()
    with _saving.fitting(saved.directory, what):
        model.load_state_dict(state)
        check_finite(state)
    return model.to(device=device)


def check_finite(state: Mapping[str, Tensor]) -> None:
    """Check that all numbers of a state are finite.

    Raises:
        ValueError: if one is not.
    """
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")


def check_savable(model: nn.Module, build: Callable[[], nn.Module]) -> None:
    """Check that a model is what its configuration rebuilds, and has one precision.

    Args:
        model: the model.
        build: returns the model that the configuration describes.

    Raises:
        TypeError: if the model has several precisions.
        ValueError: if it has been changed since it was built.
    """
    # On the CPU: arithmetic on the meta device would import PyTorch's compiler.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        twin = build()
    own, wanted = _anatomy(model, twin), _anatomy(twin, twin)
    changed = [path for path in own.keys() | wanted.keys() if own.get(path) != wanted.get(path)]
    if changed:
        path = min(changed)
        raise ValueError(
            f"{path or type(model).__name__} has been changed since the model was built, and "
            "its configuration would not rebuild it: save its state_dict() instead, or build "
            "the model with the change"
        )
    _check_one(_dtypes(model.state_dict()))


def _anatomy(model: nn.Module, twin: nn.Module) -> dict[str, Any]:
    """Return the classes of a model's parts, by path, and what tells two of a class apart.

    That is the shapes of their tensors, and the attributes that a twin has too.
    """
    names = {
        path: [key for key in vars(part) if _tells(part, key)]
        for path, part in twin.named_modules(remove_duplicate=False)
    }
    return {
        path: (
            type(part),
            {key: vars(part).get(key) for key in names.get(path, ())},
            {name: tensor.shape for name, tensor in part.named_parameters(recurse=False)},
        )
        for path, part in model.named_modules(remove_duplicate=False)
    }


def _tells(part: nn.Module, name: str) -> bool:
    """Whether an attribute affects what a part computes; False for classes from elsewhere."""
    how = {"training", "config", "inverse_method", "tolerance", "checkpoint", "method", "kernel"}
    known = type(part).__module__.startswith("invflow.")
    return known and name not in how and not name.startswith("_")


def _dtypes(state: Mapping[str, Tensor]) -> dict[torch.dtype, str]:
    """Return the precisions in a state, each with the name of one tensor."""
    return {tensor.dtype: key for key, tensor in state.items() if tensor.is_floating_point()}


def _check_one(dtypes: Mapping[torch.dtype, str]) -> None:
    """Raise a `TypeError` for several precisions, or for one that is not for arithmetic."""
    if len(dtypes) > 1 or not set(dtypes) <= set(_DTYPES):
        found = ", ".join(f"{dtype} ({key})" for dtype, key in dtypes.items())
        known = ", ".join(map(str, _DTYPES))
        raise TypeError(f"tensors must all have the same precision, one of {known}, got {found}")
