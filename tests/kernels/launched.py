"""The launch of the CUDA kernels without a card, up to the call of the driver: run by `test_gpu`.

Triton binds the arguments that the engine passes, derives types and alignments from them, compiles
for a Hopper card, and hands the program to a driver, which here only takes notes. The tensors lie
in the memory of the CPU, whose addresses are as good as others.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget

from invflow import _torch
from invflow.kernels import operators
from invflow.kernels.gpu import engine, sweeps
from invflow.transforms import Autoregressive
from invflow.univariate import Affine, Univariate
from tests.helpers import fast, randn
from tests.kernels.card import MAPS, SIZES, TOLERANCES, build

KERNELS = [sweeps.sweep, sweeps.reverse_sweep]

#: Triton's names of precisions.
NAMES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.int64: "i64",
}
#: The arguments that hold integers.
TABLES = ("starts", "tops", "places", "shelves", "order")
#: Bytes of memory that the blocks of a Hopper card can share.
SHARED = 227 * 1024


class Launch(NamedTuple):
    """What the driver was asked to run.

    Attributes:
        source: what was compiled, with the types of the arguments.
        program: what it was compiled to.
        grid: number of programs.
        stream: of the device.
        arguments: of the kernel, by name.
    """

    source: Any
    program: Any
    grid: tuple[int, ...]
    stream: int
    arguments: dict[str, Any]


class Driver:
    """A card that loads every program and runs none."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []
        loaded = (object(), object(), 0, 0, 1024)  # module, function, registers, spilled, threads
        self.utils = SimpleNamespace(
            load_binary=lambda *_: loaded,
            get_device_properties=lambda _: {"max_shared_mem": SHARED},
        )

    def launcher_cls(self, source: Any, program: Any) -> Callable[..., None]:
        def launch(*given: Any) -> None:
            # After the grid and the stream come what was loaded, and hooks.
            grid, stream, arguments = given[:3], given[3], given[9:]
            names = dict(zip(source.signature, arguments, strict=True))
            self.launches.append(Launch(source, program, grid, stream, names))

        return launch

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 7

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    there = Driver()
    triton.runtime.driver.set_active(there)
    monkeypatch.setattr(operators, "engine", lambda device: engine)
    for kernel in KERNELS:
        kernel.device_caches.clear()
    return there


def _run(transform: Autoregressive, x: Tensor) -> None:
    """Invert a batch, whatever the numbers are, and compute the gradients."""
    context = randn(len(x), 2).to(x.dtype)
    offset, weights = transform.conditioner.pack(x.shape[:1], context)
    z, ladj = operators.solve(transform.kernel, transform.order, offset, weights, x)
    (z.sum() + ladj.sum()).backward()


def _check(driver: Driver, dtype: torch.dtype, batch: int) -> None:
    """Check that both kernels were launched, with arguments of the types they are compiled for."""
    assert [launch.source.fn for launch in driver.launches] == KERNELS
    wide = torch.promote_types(dtype, torch.float32)
    for source, program, grid, stream, arguments in driver.launches:
        assert grid == (-(-batch // engine.SIZES["BLOCK"]), 1, 1)
        assert stream == 7
        assert program.num_warps == engine.LAUNCH["num_warps"]
        assert program.shared <= SHARED
        tensors = {name: each for name, each in arguments.items() if isinstance(each, Tensor)}
        for name, tensor in tensors.items():
            number = torch.int64 if name in TABLES else wide if name == "sums" else dtype
            assert tensor.dtype == number
            assert source.signature[name] == f"*{NAMES[number]}"
            assert tensor.is_contiguous() or name == "offset"


def _ptx(kernel: Any) -> str:
    """Return what a kernel was compiled to."""
    ((programs, *_),) = kernel.device_caches.values()
    (program,) = programs.values()
    return program.asm["ptx"]


#: Each precision, map and size of the tests on a card; a few of them are compiled every time.
ALL = [(dtype, map, *size) for dtype in TOLERANCES for map in MAPS for size in SIZES]
FEW = [ALL[4], ALL[24], ALL[36], ALL[48]]


@pytest.mark.parametrize(
    ("dtype", "map", "features", "batch", "options"),
    [
        pytest.param(
            *case, id="-".join(map(str, case)), marks=() if case in FEW else pytest.mark.slow
        )
        for case in ALL
    ],
)
def test_what_runs_on_a_card_is_launched(
    dtype: torch.dtype, map: Univariate, features: int, batch: int, options: dict[str, Any],
    driver: Driver,
) -> None:  # fmt: skip
    transform = build(features, map, "auto", options).to(dtype)
    _run(transform, randn(batch, features).to(dtype).requires_grad_())
    _check(driver, dtype, batch)
    for ptx in (_ptx(kernel) for kernel in KERNELS):
        assert "st.global" in ptx
        assert "bar.sync" in ptx
        assert ".nc" not in ptx  # such a load may miss what the kernel itself has written


@pytest.mark.parametrize("batch", fast([1], [1, 16]))
def test_sizes_that_triton_treats_in_their_own_way(batch: int, driver: Driver) -> None:
    """One is a constant to it, and multiples of 16 are aligned."""
    transform = build(8, Affine(), "auto", {"hidden": (9,)}).float()
    _run(transform, randn(batch, 8).float().requires_grad_())
    _check(driver, torch.float32, batch)
    assert (driver.launches[0].source.signature["batch"] == "constexpr") == (batch == 1)


@pytest.mark.slow
def test_tensors_that_are_not_aligned(driver: Driver) -> None:
    transform = build(8, Affine(), "auto", {"hidden": (9,)}).float()
    room = randn(5 * 8 + 1).float().requires_grad_()
    x = room[1:].view(5, 8)
    assert x.data_ptr() % 16
    _run(transform, x)
    _check(driver, torch.float32, 5)
    assert driver.launches[0].arguments["x"].data_ptr() == x.data_ptr()


def test_products_in_tf32(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_precision", lambda: "tf32")
    transform = build(8, Affine(), "auto", {"hidden": (9,)}).float()
    _run(transform, randn(5, 8).float().requires_grad_())
    _check(driver, torch.float32, 5)
    assert all(".tf32" in _ptx(kernel) for kernel in KERNELS)


def test_a_second_call_compiles_nothing_and_makes_no_tables(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it can be captured in a CUDA graph, which reads the tables in every replay."""
    monkeypatch.setattr(_torch, "plain", lambda: False)  # or the CPU's kernels were taken
    transform = build(8, Affine(), "compiled", {"hidden": (9,)}).float()
    x, context = randn(5, 8).float().requires_grad_(), randn(5, 2).float()
    for _ in range(2):
        z, ladj = transform.inverse(x, context)
        (z.sum() + ladj.sum()).backward()
        for kernel in KERNELS:
            monkeypatch.setattr(kernel, "_do_compile", pytest.fail)
        monkeypatch.setattr(torch, "tensor", pytest.fail)
    tables = engine._structure(transform.conditioner.layout, x.device)[0]
    assert [launch.source.fn for launch in driver.launches] == KERNELS * 2
    for launch in driver.launches:
        for name, table in tables._asdict().items():
            assert launch.arguments[name] is table
