"""Compiling what a long training calls at every step, where it is known to repay itself.

What has a kernel of its own runs in it, and gains nothing compiled; nothing is compiled by default
that `benchmarks/compiling.py` has not shown to gain. What comes out is as before: modules are
compiled where they stand, for as long as they are trained.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FunctionType, MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from invflow import _checks

CHOICES = ("auto", "always", "never")
#: Steps that win back the time spent on compiling, by kind of model and of device, where there are
#: `NUMBERS` in a batch.
REPAID: Mapping[tuple[str, str], int] = {("nsf, made, spline", "cpu"): 8_500}
NUMBERS = 2048
#: How many times over the time must be won back: machines differ, and training may end early.
MARGIN = 3
#: The number of kinds of calls that are compiled, each by itself; others run as they are.
MOST = 8


def worth(choice: str, kind: str, device: str, numbers: int, steps: int) -> bool:
    """Return whether to compile a training: a function of what is known before it begins.

    A warning says where "always" cannot be.

    Args:
        choice: "always", "never", or "auto" for where it repays itself; nothing is compiled without
            a compiler.
        kind: of model, as in `REPAID`.
        device: its type.
        numbers: in a batch.
        steps: of the whole run, whether or not a part of it is done, so that a run that goes on
            does so with the same arithmetic.

    Raises:
        ValueError: an unknown choice.

    Example:
        >>> [worth("auto", "nsf, made, spline", "cpu", 2048, steps) for steps in (3000, 20_000)]
        [False, False]
    """
    if _checks.choice("compile", choice, CHOICES) == "auto":
        repaid = REPAID.get((kind, device))
        if repaid is None or numbers < NUMBERS or steps < MARGIN * repaid:
            return False
    if choice == "never":
        return False
    there = has_compiler(device)
    if choice == "always" and not there:
        warnings.warn("nothing is compiled, as PyTorch finds no compiler", stacklevel=2)
    return there


def has_compiler(device: str) -> bool:
    """Return whether what PyTorch compiles with is there: a C++ compiler, or Triton."""
    if device != "cpu":
        return importlib.util.find_spec("triton") is not None
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX", usual)) is not None


@contextmanager
def compiled(modules: Iterable[nn.Module]) -> Generator[None]:
    """Compile the calls of modules that are differentiated, until the end of the block.

    Where compiling fails they run as they are, and a warning says so. Names of weights and states
    stay the same.
    """
    with ExitStack() as stack:
        # Torch's compiler switches the checks of distributions off, everywhere and for good.
        checks = cast(Any, Distribution)._validate_args
        stack.callback(Distribution.set_default_validate_args, checks)
        for module in modules:
            # Buffers that the first backward pass gives away would be missing in a second one.
            config: Any = importlib.import_module("torch._functorch.config")
            stack.enter_context(config.patch(donated_buffer=False))
            state = vars(module)
            stack.callback(_restore, state, state.get("forward"))
            state["forward"] = _Compiled(module)  # found before the class's; no part of any state
        yield


def _restore(state: dict[str, Any], forward: Callable[..., Any] | None) -> None:
    """Give a module the forward of its own back, or none."""
    if forward is None:
        state.pop("forward")
    else:
        state["forward"] = forward


class _Compiled:
    """The forward of a module, compiled for what it is called with."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.plain: Callable[..., Any] = module.forward
        self.fast: Callable[..., Any] | None = None
        #: What to call, by kind of call.
        self.ways: dict[Any, Callable[..., Any]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _Compiled:
        """Return the same for the copy of the module, which has other weights."""
        return _Compiled(copy.deepcopy(self.module, memo))

    def __call__(self, *inputs: Any) -> Any:
        # Evaluations come with other sizes, and are few.
        if not (torch.is_grad_enabled() and self.module.training):
            return self.plain(*inputs)
        kind = tuple(map(_kind, inputs))
        if kind not in self.ways:
            self.ways[kind] = self._way(inputs) if len(self.ways) < MOST else self.plain
        return self.ways[kind](*inputs)

    def _way(self, inputs: tuple[Any, ...]) -> Callable[..., Any]:
        """Return the compiled forward if it and its gradient can be had, else the plain one."""
        buffers = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's own remarks while it compiles
                self.fast = self.fast or torch.compile(_copied(self.plain), dynamic=False)
                self._try(self.fast, inputs)
                return self.fast
        except Exception as error:  # whatever the compiler stumbles over: it is only to save time
            name, why = type(self.module).__name__, str(error).partition("\n")[0]
            warnings.warn(f"{name} is not compiled: {type(error).__name__}: {why}", stacklevel=3)
            return self.plain
        finally:
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)

    def _try(self, fast: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
        """Compile the gradient too, away from the graph that the inputs come from."""
        ends = [end.sum() for end in _tensors(fast(*_detached(inputs))) if end.requires_grad]
        weights = [weight for weight in self.module.parameters() if weight.requires_grad]
        if ends and weights:
            torch.autograd.grad(ends, weights, allow_unused=True)


def _kind(value: Any) -> Any:
    """Return what a graph depends on: sizes and dtypes of tensors, and words."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.requires_grad
    if isinstance(value, tuple):
        return tuple(map(_kind, cast(tuple[Any, ...], value)))
    return value if isinstance(value, str) else type(value)


def _detached(value: Any) -> Any:
    """Return a tensor without its graph, or nested tuples of such."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    if not isinstance(value, tuple):
        return value
    parts = tuple(map(_detached, cast(tuple[Any, ...], value)))
    return cast(Any, type(value))(*parts) if hasattr(value, "_fields") else parts


def _tensors(value: Any) -> Iterator[Tensor]:
    """Give the tensors in a tensor or in nested tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for each in cast(tuple[Any, ...], value):
            yield from _tensors(each)


def _copied(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method with code of its own: torch keeps few graphs for one code object.

    So fits in succession do not fill it up, and what they have compiled goes when they do.
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
