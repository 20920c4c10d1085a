"""Compiling the modules that a training calls at every step, where the user asks for it.

`benchmarks/compiling.py` measures what modules gain.
Modules are compiled in place and only while they are trained: afterwards they are ordinary modules.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FunctionType, MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

#: Largest number of kinds of calls that are compiled; further kinds run uncompiled.
MOST_KINDS = 8


def has_compiler(device: str) -> bool:
    """Return whether the compiler that PyTorch needs is installed: for C++, or Triton."""
    if device != "cpu":
        return importlib.util.find_spec("triton") is not None
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX", usual)) is not None


@contextmanager
def compiled(modules: Sequence[nn.Module], device: str) -> Generator[bool]:
    """Compile the differentiated calls of modules until the end of the block.

    Without a compiler, or where compiling fails, modules run uncompiled, with a warning. Names of
    weights and states do not change.

    Args:
        modules: to compile; none for a block without effect.
        device: type of the device they are on.

    Returns:
        Whether anything is compiled.
    """
    if modules and not has_compiler(device):
        need = "a C++ compiler, such as g++" if device == "cpu" else "Triton (pip install triton)"
        warnings.warn(
            f"compile=True has no effect: PyTorch needs {need}, and did not find it; "
            "install it, or leave compile out",
            stacklevel=3,
        )
        modules = ()
    with ExitStack() as stack:
        # Torch's compiler permanently disables the argument checks of all distributions.
        checks = cast(Any, Distribution)._validate_args
        stack.callback(Distribution.set_default_validate_args, checks)
        for module in modules:
            # Otherwise the first backward pass frees buffers that a second one needs.
            config: Any = importlib.import_module("torch._functorch.config")
            stack.enter_context(config.patch(donated_buffer=False))
            state = vars(module)
            stack.callback(_restore, state, state.get("forward"))
            # Shadows the class's forward, and is not part of any state.
            state["forward"] = _Compiled(module)
        yield bool(modules)


def _restore(state: dict[str, Any], forward: Callable[..., Any] | None) -> None:
    """Restore the forward that a module had before."""
    if forward is None:
        state.pop("forward")
    else:
        state["forward"] = forward


class _Compiled:
    """The forward of a module, compiled for each kind of arguments."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.plain: Callable[..., Any] = module.forward
        self.fast: Callable[..., Any] | None = None
        #: What to call, by kind of arguments.
        self.ways: dict[Any, Callable[..., Any]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Compiled:
        """Return the same for a copy of the module, which has its own weights."""
        return _Compiled(copy.deepcopy(self.module, memo))

    def __call__(self, *inputs: Any) -> Any:
        # Evaluations have other sizes, and there are few of them.
        if not (torch.is_grad_enabled() and self.module.training):
            return self.plain(*inputs)
        kind = tuple(map(_kind, inputs))
        if kind not in self.ways:
            self.ways[kind] = self._way(inputs) if len(self.ways) < MOST_KINDS else self.plain
        return self.ways[kind](*inputs)

    def _way(self, inputs: tuple[Any, ...]) -> Callable[..., Any]:
        """Return the compiled forward, or the plain one if it or its gradient fails to compile."""
        buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own, while it compiles
                self.fast = self.fast or torch.compile(_copied(self.plain), dynamic=False)
                self._try(self.fast, inputs)
                return self.fast
        except Exception as error:  # of any kind: compiling only saves time
            name, why = type(self.module).__name__, str(error).partition("\n")[0]
            warnings.warn(f"{name} runs uncompiled: {type(error).__name__}: {why}", stacklevel=3)
            return self.plain
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)

    def _try(self, fast: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
        """Compile the gradient too, detached from the graph of the inputs."""
        ends = [end.sum() for end in _tensors(fast(*_detached(inputs))) if end.requires_grad]
        weights = [weight for weight in self.module.parameters() if weight.requires_grad]
        if ends and weights:
            torch.autograd.grad(ends, weights, allow_unused=True)


def _kind(value: Any) -> Any:
    """Return what a graph depends on: sizes and dtypes of tensors, and strings."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.requires_grad
    if isinstance(value, tuple):
        return tuple(map(_kind, cast(tuple[Any, ...], value)))
    return value if isinstance(value, str) else type(value)


def _detached(value: Any) -> Any:
    """Detach a tensor, or nested tuples of tensors, from its graph."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    if not isinstance(value, tuple):
        return value
    parts = tuple(map(_detached, cast(tuple[Any, ...], value)))
    return cast(Any, type(value))(*parts) if hasattr(value, "_fields") else parts


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for each in cast(tuple[Any, ...], value):
            yield from _tensors(each)


def _copied(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method with its own code object, because torch keeps few graphs per code object.

    Successive fits then do not use up that limit, and their graphs are freed with them.
    """
    if not isinstance(method, MethodType) or not isinstance(method.__func__, FunctionType):
        return method
    function = method.__func__
    own = FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    own.__kwdefaults__ = function.__kwdefaults__
    return MethodType(own, method.__self__)
