"""The tensors that a module has at one moment.

`torch.func.functional_call` gives a module other parameters for the duration of a call. A result
that is used later, such as a distribution, must remember them.
"""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from operator import is_
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import Parameter

P = ParamSpec("P")
R = TypeVar("R")

#: Attribute in which a module keeps its `_Places`; a name that no subclass has.
_KEPT = "_invflow_snapshot_places"


class _Places(NamedTuple):
    """The places of a module's tensors, found once because walking through a module is slow.

    Attributes:
        children: the dictionaries of submodules of each of its modules.
        modules: their contents.
        names: prefixes of the names of parameters and of buffers.
        holders: the dictionaries of parameters and of buffers, alternating.
    """

    children: list[dict[str, Any]]
    modules: list[Any]
    names: list[str]
    holders: list[dict[str, Any]]

    def are_of(self, module: nn.Module) -> bool:
        """Return whether the module still has the same structure."""
        same = self.children[0] is module._modules
        return same and _values(self.children) == self.modules


def _values(dictionaries: list[dict[str, Any]]) -> list[Any]:
    return list(chain.from_iterable(map(dict.values, dictionaries)))


def _places(module: nn.Module) -> _Places:
    places: _Places | None = vars(module).get(_KEPT)
    if places is not None and places.are_of(module):
        return places
    found = list(module.named_modules(remove_duplicate=False))
    children = [part._modules for _, part in found]
    prefixes = [f"{path}." if path else "" for path, _ in found for _ in range(2)]
    holders = list(chain.from_iterable((part._parameters, part._buffers) for _, part in found))
    filled = [(name, holder) for name, holder in zip(prefixes, holders, strict=True) if holder]
    # Empty dictionaries need no second look, except the first, which identifies the module.
    children = [children[0], *filter(None, children[1:])]
    places = _Places(
        children, _values(children), [name for name, _ in filled], [each for _, each in filled]
    )
    vars(module)[_KEPT] = places
    return places


class Snapshot:
    """The tensors of a module.

    Args:
        module: its parameters and buffers are referenced, not copied, so in-place changes, such as
            an optimizer's, are seen.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._places = _places(module)
        self._tensors: list[Tensor | None] = _values(self._places.holders)

    def current(self) -> bool:
        """Return whether the module has these tensors now."""
        now = _values(self._places.holders)
        same = len(now) == len(self._tensors) and all(map(is_, now, self._tensors))
        return same and self._places.are_of(self._module)

    def versions(self) -> list[int]:
        """Return how often each was changed in place, if PyTorch counts it."""
        held = (tensor for tensor in self._tensors if tensor is not None)
        return [tensor._version for tensor in held if not tensor.is_inference()]

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function with these tensors in the module.

        Raises:
            RuntimeError: if the module's structure has changed since.
        """
        if self.current() or self._moved():
            return function(*args, **kwargs)
        pairs = zip(self._names(), self._tensors, strict=True)
        state = {f"module.{name}": tensor for name, tensor in pairs if tensor is not None}
        call = cast(Callable[..., R], functional_call)
        return call(_Holding(self._module), state, (function, *args), kwargs, tie_weights=False)

    def _moved(self) -> bool:
        """Return whether the module was moved; its parameters are then still the same objects."""
        now = _values(self._places.holders)
        return len(now) == len(self._tensors) and all(
            before is after
            or (
                not (isinstance(after, Parameter) or before is None or after is None)
                and (before.device, before.dtype) != (after.device, after.dtype)
            )
            for before, after in zip(self._tensors, now, strict=True)
        )

    def _names(self) -> list[str]:
        places = self._places
        named = zip(places.names, places.holders, strict=True)
        names = [prefix + name for prefix, holder in named for name in holder]
        if len(names) != len(self._tensors) or not places.are_of(self._module):
            raise RuntimeError(
                f"the structure of the {type(self._module).__name__} has changed since this "
                "distribution was made: call the flow again"
            )
        return names


class _Holding(nn.Module):
    """A module for `functional_call` that calls any function while it has other tensors."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)
