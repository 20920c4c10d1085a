"""All uses of PyTorch's private names; if one is missing, everything still works without it.

The kernels need to know whether a tensor is plain numbers in memory and whether a call runs
eagerly, and PyTorch has no public function for either. Each name is looked up when this file is
imported; if one is missing, the kernels are off (see `MISSING`) and everything runs in PyTorch.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import Parameter

#: The dispatch keys of plain tensors, by device.
_KEYS = {
    device: (device, f"Autocast{device}", f"Autograd{device}", "ADInplaceOrView")
    for device in ("CPU", "CUDA")
}
#: The names that the kernels need, and their purpose.
NEEDED = {
    "_C._dispatch_keys": "the kind of a tensor",
    "_C.DispatchKey": "the kind of a tensor",
    "_C.DispatchKeySet": "the kind of a tensor",
    **{
        f"_C.DispatchKey.{name}": "the kind of a tensor" for keys in _KEYS.values() for name in keys
    },
    "_C._are_functorch_transforms_active": "whether torch.func is active",
    "_C._len_torch_dispatch_stack": "whether a dispatch mode is active",
    "autograd.forward_ad._current_level": "whether forward mode is active",
}
#: The dictionaries of hooks in a module.
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def _found(path: str) -> Any:
    try:
        return attrgetter(path)(torch)
    except AttributeError:
        return None


_lost = [name for name in HOOKS if name not in vars(_found("nn.Module")())]
_missing = [name for name in NEEDED if _found(name) is None]
_missing += [f"nn.Module.{name}" for name in _lost]

_TYPES = frozenset((Tensor, Parameter))
_keys = _found("_C._dispatch_keys")
_mapped = _found("_C._are_functorch_transforms_active")
_modes = _found("_C._len_torch_dispatch_stack")
_forward_ad: Any = torch.autograd.forward_ad
_tracing: Any = cast(Any, torch.jit).is_tracing
#: The file of PyTorch's own library; None if unknown.
LIBRARY: str | None = _found("_C.__file__")
_guard, _key = _found("_C._SetExcludeDispatchKeyGuard"), _found("_C.DispatchKey")


def _kinds(device: str) -> tuple[Any, Any]:
    """Return the dispatch keys of plain tensors, and of those made in inference mode.

    All other kinds have an extra key: sparse, quantised, functional, batched, fake, conjugate,
    zero.
    """
    keys = _found("_C.DispatchKeySet")
    backend, autocast, *autograd = (keys(getattr(_key, name)) for name in _KEYS[device])
    return backend | autocast | autograd[0] | autograd[1], backend | autocast


_KINDS = () if _missing else (*_kinds("CPU"), *_kinds("CUDA"))


def _lacking(tensor: Tensor) -> str | None:
    """Return why the kernels must be off, given a tensor that should be plain."""
    if _missing:
        return f"this PyTorch has no torch.{_missing[0]}"
    if type(tensor) is Tensor and _keys(tensor) not in _KINDS:  # a mode may have made another type
        return f"this PyTorch has plain tensors of an unknown kind, {_keys(tensor)}"
    return None


#: Why the kernels must be off; None if they can run.
MISSING = _lacking(torch.empty(0, device="cpu"))


def dense(tensor: Tensor) -> bool:
    """Return whether a tensor is plain numbers in memory, on a CPU or on CUDA."""
    return type(tensor) in _TYPES and _keys(tensor) in _KINDS


def forward_mode() -> bool:
    """Return whether forward-mode derivatives are being computed; False if unknown."""
    return getattr(_forward_ad, "_current_level", -1) >= 0


def eager() -> bool:
    """Return whether calls run eagerly: no tracing, torch.func, dispatch or forward mode."""
    return not (
        torch.compiler.is_compiling()
        or MISSING
        or _tracing()
        or _mapped()
        or _modes() > 0
        or forward_mode()
    )


def plain() -> bool:
    """Return whether calls run eagerly, and without autocast."""
    return eager() and not torch.is_autocast_enabled("cpu")


def hooked(module: nn.Module) -> bool:
    """Return whether a module has hooks, or its own `forward` or `inverse` as an attribute.

    Global hooks, with which profilers count calls, do not count.
    """
    own = module.__dict__
    return bool(
        _lost  # then it is unknown
        or own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
        or "inverse" in own
    )


@contextmanager
def functional() -> Generator[None]:
    """Make torch.func work inside an operator.

    It works anyway, except when the operator runs under a dispatch mode (torch's counter of
    operations, the first run of a compiled graph), whose exclusions would disable it.
    """
    if _guard is None or _key is None:
        yield
        return
    with (
        _guard(_key.FuncTorchGradWrapper, False),
        _guard(_key.FuncTorchDynamicLayerFrontMode, False),
        _guard(_key.FuncTorchDynamicLayerBackMode, False),
    ):
        yield
