"""The kernels for CUDA in Triton's interpreter, on a CPU: run by `test_gpu`.

The interpreter must be turned on before Triton is imported, hence in a process of its own. It
multiplies the bits of bfloat16 as integers, so half precision is tested as float16.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from invflow import _torch
from invflow.conditioners import MADE
from invflow.kernels import operators
from invflow.transforms import Autoregressive
from invflow.univariate import Additive, Affine, Gated, Univariate
from tests.helpers import assert_close, generator, gradients, perturbed, randn


@pytest.fixture(autouse=True)
def _on_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the operators in Triton, in panels of a few units, on memory that starts as NaN."""
    from invflow.kernels.gpu import engine

    monkeypatch.setattr(operators, "engine", lambda device: engine)
    monkeypatch.setattr(_torch, "plain", lambda: False)  # or the CPU's kernels were taken
    monkeypatch.setattr(engine, "PANEL", 8)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@dataclasses.dataclass(frozen=True)
class Case:
    """A transform and a batch."""

    features: int
    hidden: tuple[int, ...]
    context: int
    batch: int
    activation: str
    map: Univariate
    residual: bool = False
    skip: bool = False
    input_bound: float | None = None
    group: int | tuple[int, ...] = 1

    def build(self, inverse: str) -> Autoregressive:
        network = MADE(
            self.features,
            self.map.start,
            self.hidden,
            self.context,
            activation=self.activation,
            residual=self.residual,
            skip=self.skip,
            group=self.group,
            generator=generator(1),
        )
        order = torch.randperm(self.features, generator=generator(2))
        transform = Autoregressive(
            network, self.map, order=order, inverse=inverse, input_bound=self.input_bound
        )
        return perturbed(transform, scale=0.4)


AFFINE = Affine(bound=1.7)
CASES = [
    Case(1, (), 0, 3, "relu", AFFINE),
    Case(1, (3, 2), 2, 5, "elu", Gated()),
    Case(2, (), 1, 1, "relu", Additive()),
    Case(3, (), 0, 4, "relu", Gated()),
    Case(3, (5,), 0, 0, "tanh", AFFINE, input_bound=1.0),
    Case(3, (9,), 2, 33, "gelu", AFFINE, skip=True, input_bound=1.0),
    Case(4, (1, 6), 2, 7, "leaky_relu", Gated()),
    Case(5, (40,), 0, 4, "relu", Additive()),
    Case(6, (7, 7), 0, 6, "sigmoid", AFFINE, residual=True, input_bound=0.5),
    Case(7, (20, 31), 1, 5, "silu", Gated(), skip=True),
    Case(7, (3, 3, 3), 1, 6, "softplus", Additive(), residual=True),
    Case(8, (15, 15, 15), 0, 35, "tanh", AFFINE, residual=True),
    Case(13, (30, 19), 2, 4, "elu", AFFINE),
    Case(13, (30, 19), 0, 4, "elu", Gated(), input_bound=1.0),
    Case(3, (), 1, 4, "relu", AFFINE, group=2),
    Case(5, (7,), 0, 4, "tanh", Gated(), group=5),
    Case(13, (30, 19), 2, 4, "elu", AFFINE, skip=True, group=4),
    Case(13, (3, 3, 3), 1, 5, "silu", Additive(), residual=True, group=(1, 9, 3)),
    Case(40, (), 0, 3, "relu", Gated(), input_bound=1.0, group=20),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_agrees_with_the_sweep_in_pytorch(case: Case) -> None:
    results: list[object] = []
    for inverse in ("compiled", "cached"):
        transform = case.build(inverse)
        x = randn(case.batch, case.features).requires_grad_()
        context = randn(case.batch, case.context, seed=1).requires_grad_() if case.context else None
        z, ladj = transform.inverse(x, context)
        inputs = [x, *transform.parameters(), *([] if context is None else [context])]
        results.append((z, ladj, gradients(z, ladj, inputs)))
    assert_close(*results)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 1e-2)], ids=str
)
@pytest.mark.parametrize("case", [CASES[5], CASES[9], CASES[12]], ids=str)
def test_agrees_in_lower_precision(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    results: list[list[torch.Tensor]] = []
    for run in ("compiled", "cached"):
        transform = case.build("cached")
        if run == "compiled":
            transform.to(dtype)
        parameter = next(transform.parameters())
        kind = transform.kernel
        assert kind is not None
        assert isinstance(transform.conditioner, MADE)
        x = randn(case.batch, case.features).to(parameter).requires_grad_()
        context = randn(case.batch, case.context).to(parameter) if case.context else None
        if run == "compiled":
            offset, weights = transform.conditioner.pack(x.shape[:1], context)
            z, ladj = operators.solve(kind, transform.order, offset, weights, x)
        else:
            z, ladj = transform.inverse(x, context)
        results.append([z, ladj, *gradients(z, ladj, [x, *transform.parameters()])])
    for found, wanted in zip(*results, strict=True):
        assert found.dtype == dtype
        assert (found - wanted).norm() <= tolerance * (wanted.norm() + 1)


def test_data_that_is_not_finite_stays_so_and_alone() -> None:
    transform = Case(4, (8,), 0, 0, "elu", AFFINE).build("compiled")
    x = randn(5, 4)
    clean, _ = transform.inverse(x)
    x[3, 1] = float("nan")
    z, ladj = transform.inverse(x)
    assert torch.isnan(z[3, 1])
    others = [0, 1, 2, 4]
    assert torch.equal(z[others], clean[others])
    assert torch.isfinite(ladj[others]).all()


def test_under_vmap() -> None:
    transform = Case(3, (6,), 0, 0, "tanh", AFFINE).build("compiled")
    x = randn(4, 2, 3)
    found = torch.func.vmap(transform.inverse)(x)
    assert_close(found, transform.inverse(x))


class _Threads:
    """What a program has read and written since its last barrier, all that its threads share.

    The interpreter runs one thread after another, so barriers do nothing there, and one that is
    missing changes no result.
    """

    def __init__(self) -> None:
        self.reads: set[int] = set()
        self.writes: set[int] = set()
        self.conflicts = self.barriers = 0

    def barrier(self, *_: Any) -> None:
        self.barriers += 1
        self.reads, self.writes = set(), set()

    def read(self, places: set[int]) -> None:
        self.conflicts += len(places & self.writes)
        self.reads |= places

    def write(self, places: set[int]) -> None:
        self.conflicts += len(places & (self.reads | self.writes))
        self.writes |= places


@pytest.mark.parametrize("case", [CASES[1], CASES[3], CASES[5], CASES[9], CASES[11]], ids=str)
def test_barriers_stand_between_what_one_thread_writes_and_another_reads(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton.runtime.interpreter import InterpreterBuilder

    threads = _Threads()
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def watched_load(self: Any, places: Any, mask: Any, *rest: Any) -> Any:
        threads.read({*places.data[mask.data].tolist()})
        return load(self, places, mask, *rest)

    def watched_store(self: Any, places: Any, value: Any, mask: Any, *rest: Any) -> Any:
        threads.write({*places.data[mask.data].tolist()})
        return store(self, places, value, mask, *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_masked_load", watched_load)
    monkeypatch.setattr(InterpreterBuilder, "create_masked_store", watched_store)
    monkeypatch.setattr(InterpreterBuilder, "create_barrier", threads.barrier)
    transform = case.build("compiled")
    x = randn(case.batch, case.features).requires_grad_()
    context = randn(case.batch, case.context, seed=1) if case.context else None
    z, ladj = transform.inverse(x, context)
    threads.barrier()  # between one kernel and the next
    (z.sum() + ladj.sum()).backward()
    assert threads.barriers > 1
    assert threads.conflicts == 0
