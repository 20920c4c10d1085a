"""Operators of torch that are opaque to `torch.compile` and `torch.func`.

`torch.library.custom_op` makes them too, but each call through it takes longer: it guards against
gradients and mutations that its callers here rule out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_LIBRARY = torch.library.Library("invflow", "FRAGMENT")
#: What torch calls the types of arguments and results.
_TYPES: dict[Any, str] = {str: "str", Tensor: "Tensor", list[Tensor]: "Tensor[]"}


def operator(function: Callable[P, R]) -> Callable[P, R]:
    """Return the operator of a function: a name, a schema from its annotations, no gradient.

    To be called where no gradient is recorded, as in the methods of an autograd function.
    """
    name = function.__name__
    _LIBRARY.define(name + _schema(function))
    _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    return cast(Callable[P, R], getattr(cast(Any, torch.ops).invflow, name).default)


def _schema(function: Callable[..., Any]) -> str:
    """Return a schema, as `torch.library.infer_schema` does, which knows `list` from 2.7 on."""
    types = get_type_hints(function)
    returned = types.pop("return")
    results = get_args(returned) if get_origin(returned) is tuple else (returned,)
    arguments = ", ".join(f"{_TYPES[kind]} {name}" for name, kind in types.items())
    return f"({arguments}) -> ({', '.join(_TYPES[kind] for kind in results)})"


def fake(of: Callable[..., Any]) -> Callable[[F], F]:
    """Register what gives an operator's results without values: shapes, dtypes and devices."""

    def register(function: F) -> F:
        cast(Any, torch.library.register_fake)(of, function)
        return function

    return register


def mapped(of: Callable[..., Any]) -> Callable[[F], F]:
    """Register what an operator does under `torch.func.vmap`."""

    def register(function: F) -> F:
        cast(Any, torch.library.register_vmap)(of, function)
        return function

    return register
