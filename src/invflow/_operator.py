"""torch operators that are opaque to `torch.compile` and `torch.func`.

`torch.library.custom_op` makes such operators too, but its calls take longer, because they guard
against gradients and mutations that cannot occur here.
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
    "this inverse has derivatives only in reverse mode (backward, grad, jacrev); for forward "
    'mode (jvp, jacfwd, hessian) build the transform with inverse="passes"'
)
_LIBRARY = torch.library.Library("invflow", "FRAGMENT")


def reverse_only(function: type[Function], *arguments: Any) -> Any:
    """Apply an autograd function that has no forward-mode derivatives.

    (A `jvp` that raises would not work: `torch.compile` cannot trace a function that has one.)

    Raises:
        RuntimeError: if these derivatives are taken.
    """
    if torch.compiler.is_compiling():
        if forward_mode():  # the compiler would treat forward-mode derivatives as zero
            raise RuntimeError(_REVERSE_ONLY)
        return cast(Any, function).apply(*arguments)
    try:
        return cast(Any, function).apply(*arguments)
    except (NotImplementedError, AssertionError) as error:
        # In nested forward mode, PyTorch fails before it notices that there is no `jvp`.
        nested = isinstance(error, AssertionError) and forward_mode()
        if not nested and "jvp" not in str(error):
            raise
        raise RuntimeError(_REVERSE_ONLY) from error


def operator(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function as an operator, with a schema from its annotations and no gradient.

    Call it only where no gradient is recorded, as in the methods of an autograd function.
    """
    name = function.__name__
    schema = torch.library.infer_schema(function, mutates_args=())
    _LIBRARY.define(name + schema)
    _LIBRARY.impl(name, function, "CompositeExplicitAutograd")
    return cast(Callable[P, R], getattr(cast(Any, torch.ops).invflow, name).default)


def fake(of: Callable[..., Any]) -> Callable[[F], F]:
    """Register the function for an operator's results without values (shapes, dtypes, devices)."""

    def register(function: F) -> F:
        cast(Any, torch.library.register_fake)(of, function)
        return function

    return register


def mapped(of: Callable[..., Any]) -> Callable[[F], F]:
    """Register the function for an operator under `torch.func.vmap`."""

    def register(function: F) -> F:
        cast(Any, torch.library.register_vmap)(of, function)
        return function

    return register


def call(function: type[Function], what: Any, *tensors: Tensor) -> Any:
    """Apply an autograd function, or only its operator if no gradient is recorded.

    (In that case `torch.compile` cannot trace an autograd function with variable arguments.)

    Args:
        function: the function.
        what: its first argument, which is not a tensor.
        *tensors: its other arguments.
    """
    enabled = torch.is_grad_enabled()
    if torch.compiler.is_compiling():
        taken = enabled and any(tensor.requires_grad for tensor in tensors)
    else:
        taken = enabled
    if taken or forward_mode():  # an operator would return zero derivatives in forward mode
        return reverse_only(function, what, *tensors)
    return cast(Any, function).forward(what, *tensors)


def no_second_derivative(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
    """Raise an error, for the derivative of a gradient."""
    raise RuntimeError(
        "the cached inverse has first derivatives only; "
        'for higher ones build the transform with inverse="passes"'
    )
