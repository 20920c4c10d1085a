"""Operators of torch that are opaque to `torch.compile` and `torch.func`.

`torch.library.custom_op` makes them too, but each call through it takes longer: it guards against
gradients and mutations that its callers here rule out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd import Function

from invflow._torch import forward_mode

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_REVERSE_ONLY = (
    "this inverse has derivatives in reverse mode only (backward, grad, jacrev); for those in "
    'forward mode (jvp, jacfwd, hessian) build the transform with inverse="passes"'
)
_LIBRARY = torch.library.Library("invflow", "FRAGMENT")


def reverse_only(function: type[Function], *arguments: Any) -> Any:
    """Apply an autograd function that has no derivatives in forward mode.

    (A `jvp` that raises would not do: `torch.compile` traces no function that has one.)

    Raises:
        RuntimeError: if these derivatives are taken.
    """
    if torch.compiler.is_compiling():
        if forward_mode():  # in which the compiler would take derivatives for zero
            raise RuntimeError(_REVERSE_ONLY)
        return cast(Any, function).apply(*arguments)
    try:
        return cast(Any, function).apply(*arguments)
    except (NotImplementedError, AssertionError) as error:
        # Where forward mode is nested, PyTorch stumbles before it finds that there is no `jvp`.
        nested = isinstance(error, AssertionError) and forward_mode()
        if not nested and "jvp" not in str(error):
            raise
        raise RuntimeError(_REVERSE_ONLY) from error


def operator(function: Callable[P, R]) -> Callable[P, R]:
    """Return the operator of a function: a name, a schema from its annotations, no gradient.

    To be called where no gradient is recorded, as in the methods of an autograd function.
    """
    name = function.__name__
    schema = torch.library.infer_schema(function, mutates_args=())
    _LIBRARY.define(name + schema)
    _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    return cast(Callable[P, R], getattr(cast(Any, torch.ops).invflow, name).default)


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


def call(function: type[Function], what: Any, *tensors: Tensor) -> Any:
    """Apply an autograd function; its operator alone where no gradient is recorded.

    (`torch.compile` cannot trace an autograd function with a variable number of arguments then.)

    Args:
        function: to be applied.
        what: its first argument, which is not a tensor.
        *tensors: all others.
    """
    enabled = torch.is_grad_enabled()
    if torch.compiler.is_compiling():
        taken = enabled and any(tensor.requires_grad for tensor in tensors)
    else:
        taken = enabled
    if taken or forward_mode():  # in which an operator would give derivatives as zero
        return reverse_only(function, what, *tensors)
    return cast(Any, function).forward(what, *tensors)


def no_second_derivative(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
    """Refuse: the derivative of a gradient."""
    raise RuntimeError(
        "the cached inverse has first derivatives only; "
        'for higher ones build the transform with inverse="passes"'
    )
