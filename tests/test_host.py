"""After the first call, nothing is copied from the host's memory to the device.

Such a copy makes an accelerator wait, and fails where a CUDA graph is captured. The meta device
stands for the accelerator: it computes shapes only, and takes any tensor that lies there.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from invflow import _constant
from invflow.inverses import fixed_point
from invflow.transforms import Transform
from invflow.univariate import bracketing
from tests.helpers import (
    AUTOREGRESSIVE,
    DIRECTIONS,
    FLOWS,
    SMALL,
    UNIVARIATES,
    directed,
    fast,
    over,
)

META = torch.device("meta")
#: Functions that make tensors of Python's numbers.
MAKERS = (torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, Tensor.new_tensor)
INDEXING = (Tensor.__getitem__, Tensor.__setitem__)
#: Operators through which Python reads numbers of a device.
READERS = ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero")


def _holds_a_list(index: object) -> bool:
    return any(isinstance(each, list) for each in (index if isinstance(index, tuple) else [index]))


class _Made(TorchFunctionMode):
    """Notes tensors made of Python's numbers."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self.note = note

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        if func in MAKERS or (func in INDEXING and _holds_a_list(args[1])):
            self.note(func.__name__)
        return func(*args, **(kwargs or {}))


class Traffic(TorchDispatchMode):
    """Notes what passes between the host and the device.

    The library's own operators, which are opaque elsewhere, run in it too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        if func.name() in READERS:
            self.note(func.name())
            return True
        if func.namespace == "invflow":
            kernel = torch.library.get_kernel(func, "CPU")
            with self, _Made(self.note):
                keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
                return kernel.call_boxed(keys, *args, **kwargs)
        result = func(*args, **kwargs)
        tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor)]
        if any(not tensor.is_meta for tensor in tensors):
            self.note(func.name())
        return result

    def note(self, what: str) -> None:
        lines = [f"{line.filename}:{line.lineno}" for line in traceback.extract_stack()]
        self.notes.append(f"{what} in {[line for line in lines if 'src/invflow' in line][-2:]}")


def _second(call: Callable[[], object]) -> list[str]:
    """Return what passes in the second call."""
    for _ in range(2):
        with Traffic() as traffic, _Made(traffic.note):
            call()
    return traffic.notes


@pytest.fixture(autouse=True)
def _as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the meta device pass for an accelerator that holds numbers."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda _: torch.bfloat16)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    monkeypatch.setattr(_constant, "dense", lambda _: True)
    # Loops that end once they have converged must read whether they have.
    monkeypatch.setattr(fixed_point._Step, "settled", lambda *_: False)
    monkeypatch.setattr(bracketing, "_moving", lambda *_: False)
    yield
    _constant._kept.clear()


def _sent(transform: Transform, direction: str) -> list[str]:
    """Return what passes when a direction is taken and its gradients are computed."""
    there, dtype = transform.to(META), torch.float64
    context = torch.empty(5, there.context, device=META, dtype=dtype) if there.context else None

    def call() -> None:
        start = torch.empty(5, there.features, device=META, dtype=dtype, requires_grad=True)
        value, ladj = directed(there, direction)(start, context)
        (value.sum() + ladj.sum()).backward()

    return _second(call)


#: Transforms over each kind of conditioner, and one with each map.
STEPS = [
    over("made-1"),
    over("made-3-no-hidden"),
    over("made-3-three-layers-residual"),
    over("made-8-norm-narrow-residual-context"),
    over("made-3-norm-skip"),
    over("lstm-3-two-layers-context"),
    over("attention-3-two-blocks-context"),
    over("convolution-2x2-context"),
    *(f"made-3-context/{name}/random" for name in UNIVARIATES),
]
#: Transforms of other kinds, and flows, of a few features.
OTHERS = [name for name in SMALL if name not in AUTOREGRESSIVE and "8" not in name]
FEW = [name for name in FLOWS if not {*"568x"} & {*name}]


#: The sweeps over all of them; the iteration is the same for all, but for their maps' inverses.
ITERATED = [over("made-1"), *(f"made-3-context/{name}/random" for name in ("spline", "sigmoidal"))]


@pytest.mark.parametrize(
    ("name", "inverse"),
    [
        *((name, "cached") for name in STEPS),
        *fast(
            [(name, "fixed_point") for name in ITERATED],
            [(name, "fixed_point") for name in STEPS],
        ),
    ],
)
def test_inverses(name: str, inverse: str) -> None:
    assert _sent(AUTOREGRESSIVE[name](inverse), "inverse") == []


@pytest.mark.parametrize("name", STEPS)
def test_forward(name: str) -> None:
    assert _sent(AUTOREGRESSIVE[name](), "forward") == []


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", OTHERS)
def test_other_transforms(name: str, direction: str) -> None:
    assert _sent(SMALL[name](), direction) == []


@pytest.mark.parametrize("name", FEW)
def test_flows(name: str) -> None:
    flow, dtype = FLOWS[name]().to(META), torch.float64
    context = torch.empty(5, flow.context, device=META, dtype=dtype) if flow.context else None
    x = torch.empty(5, flow.features, device=META, dtype=dtype)

    def train() -> None:
        (-flow(context, validate_args=False).log_prob(x).mean()).backward()

    def sample() -> None:
        _, log_density = flow(context).rsample_and_log_prob((3,))
        log_density.mean().backward()

    assert _second(train) == []
    assert _second(sample) == []


def test_what_is_sent_is_noticed() -> None:
    x, places = torch.empty(3, device=META), torch.tensor([1])
    sent = {
        "tensor": lambda: torch.tensor([1.0], device=META),
        "new_tensor": lambda: x.new_tensor(2.0),
        "aten::_to_copy": lambda: places.to(META),
        "__getitem__": lambda: x[..., [0, 1]],
        "aten::_local_scalar_dense": lambda: bool(x[0]),
    }
    for name, call in sent.items():
        assert [note.partition(" ")[0] for note in _second(call)] == [name]
