"""Chains of transforms in the kernels, both ways, against the same transforms in PyTorch."""

from __future__ import annotations

import copy
import ctypes
import gc
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils import prune

from invflow import kernels
from invflow._torch import plain
from invflow.conditioners import ACTIVATIONS, MADE
from invflow.kernels.cpu import chain, eager, threads
from invflow.transforms import ActNorm, Autoregressive, Compose
from invflow.univariate import Additive, Affine, Gated, Spline, Univariate
from tests.helpers import assert_close, generator, gradients, perturbed, randn

MAPS = [Affine(bound=2.0), Gated(), Additive(), Spline(bins=3, low=-2.0, high=1.5)]


def _pair(
    features: int,
    hidden: tuple[int, ...],
    context: int = 0,
    map: Univariate = MAPS[0],
    count: int = 3,
    input_bound: float | None = None,
    **options: object,
) -> tuple[Compose, Compose]:
    """Return transforms in the kernels, and the same ones in PyTorch."""
    networks = [
        MADE(features, map.start, hidden, context, generator=generator(seed), **options)
        for seed in range(count)
    ]
    orders = [torch.randperm(features, generator=generator(seed)) for seed in range(count - 1)]

    def build(inverse: str) -> Compose:
        settings = {"inverse": inverse, "input_bound": input_bound}
        each = zip(networks, [None, *orders], strict=True)
        return Compose([Autoregressive(made, map, order=order, **settings) for made, order in each])

    return perturbed(build("compiled")), build("cached")


@contextmanager
def _all_threads(count: int = 2) -> Iterator[None]:
    """Share all work, however little, among a number of threads."""
    before = threads.AWAKE, threads.ASLEEP, torch.get_num_threads()
    try:
        threads.AWAKE = threads.ASLEEP = 1e-9
        torch.set_num_threads(count)
        yield
    finally:
        threads.AWAKE, threads.ASLEEP = before[:2]
        torch.set_num_threads(before[2])


def _run(
    transform: Compose, inverse: bool, batch: tuple[int, ...]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    value = randn(*batch, transform.features).requires_grad_()
    context = randn(*batch, transform.context, seed=1).requires_grad_()
    own = context if transform.context else None
    result, ladj = (transform.inverse if inverse else transform)(value, own)
    tensors = [value, *transform.parameters(), *([context] if transform.context else [])]
    return result.detach(), ladj.detach(), gradients(result, ladj, tensors)


@settings(max_examples=50, deadline=None)
@given(
    features=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 80), max_size=3),
    context=st.integers(0, 2),
    batch=st.integers(0, 140),
    map=st.sampled_from(MAPS),
    activation=st.sampled_from(list(ACTIVATIONS)),
    skip=st.booleans(),
    residual=st.booleans(),
    count=st.integers(1, 3),
    inverse=st.booleans(),
    input_bound=st.sampled_from([None, 1.0, 10.0]),
    group=st.integers(1, 40),
    threads_wanted=st.integers(1, 3),
)
def test_agree_at_any_size(
    features: int,
    hidden: list[int],
    context: int,
    batch: int,
    map: Univariate,
    activation: str,
    skip: bool,
    residual: bool,
    count: int,
    inverse: bool,
    input_bound: float | None,
    group: int,
    threads_wanted: int,
) -> None:
    # A gate that a linear path feeds has slopes without bound, where rounding keeps no digits.
    assume(hidden or features < 9 or not isinstance(map, Gated))
    widths = tuple(hidden[:1] * len(hidden) if residual else hidden)
    options = {
        "activation": activation,
        "skip": skip,
        "residual": residual,
        "group": min(group, features),
    }
    kernels, reference = _pair(features, widths, context, map, count, input_bound, **options)
    with torch.no_grad():
        for parameter in kernels.parameters():
            parameter.mul_(0.3)  # without this, rounding grows along forty features
    with _all_threads(count=threads_wanted):
        found = _run(kernels, inverse, (batch,))
    assert_close(found, _run(reference, inverse, (batch,)), 1e-9)


@pytest.mark.parametrize("inverse", [False, True])
def test_one_call_takes_neighbours_that_are_alike(
    inverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no others: not beyond an ActNorm, nor one of another width."""
    taken: list[int] = []
    run = eager.run

    def counting(
        kind: kernels.Kind, links: Sequence[kernels.Link], value: Tensor, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        taken.append(len(links))
        return run(kind, links, value, inverse)

    monkeypatch.setattr(eager, "run", counting)

    def step(width: int = 8) -> Autoregressive:
        return Autoregressive(MADE(4, (0.0, 0.0), (width,)), "affine")

    norm = ActNorm(4).double()
    norm(randn(20, 4))
    flow = Compose([step(), step(), norm, step(), step(9), step(9), step(9)]).double()
    value = randn(5, 4)
    (flow.inverse if inverse else flow)(value)
    assert taken == ([3, 1, 2] if inverse else [2, 1, 3])


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("batch", [(), (7,), (3, 50)], ids=str)
def test_single_precision_and_batches(inverse: bool, batch: tuple[int, ...]) -> None:
    kernels, reference = _pair(9, (20, 20), 2, residual=True)
    value, context = randn(*batch, 9).float(), randn(2).float()
    found, expected = (
        (flow.inverse if inverse else flow)(value, context)
        for flow in (kernels.float(), reference.float())
    )
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.dtype == torch.float32
        assert actual.shape == wanted.shape
        assert (actual - wanted).norm() <= 1e-4 * wanted.norm() + 1e-5


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("map", MAPS, ids=repr)
def test_a_context_that_a_batch_shares(map: Univariate, inverse: bool) -> None:
    kernels, _ = _pair(5, (11, 7), 2, map)
    value, one = randn(70, 5), randn(2, seed=1)
    found: list[list[Tensor]] = []
    for view in (one, one.view(1, 2), one.expand(70, 2).contiguous()):
        context = view.clone().requires_grad_()
        result, ladj = (kernels.inverse if inverse else kernels)(value, context)
        own, *others = gradients(result, ladj, [context, *kernels.parameters()])
        found.append([result.detach(), ladj.detach(), own.view(-1, 2).sum(0), *others])
    for each in found[1:]:
        assert_close(each, found[0], 1e-10)


def test_biases_that_a_shared_context_finds_freed_or_of_another_precision() -> None:
    for change, message in (
        (lambda bias: bias.untyped_storage().resize_(0), r"bias of shape \(\d+,\) needs \d+ bytes"),
        (
            lambda bias: setattr(bias, "data", bias.data.float()),
            r"bias must be of shape .* torch\.float64 .* got",
        ),
    ):
        kernels, _ = _pair(3, (5,), 2, count=2)
        change(kernels.transforms[1].conditioner.bias)
        with pytest.raises(ValueError, match=message):
            kernels(randn(4, 3), randn(2))


@pytest.mark.parametrize("map", MAPS, ids=repr)
@pytest.mark.parametrize("context", [0, 2])
def test_higher_derivatives_of_the_pass(map: Univariate, context: int) -> None:
    kernels, _ = _pair(3, (5,), context, map, 2, activation="tanh")
    value, given = randn(4, 3).requires_grad_(), randn(4, context, seed=1).requires_grad_()
    inputs = (value, given) if context else (value,)
    assert torch.autograd.gradgradcheck(kernels, inputs)
    tensors = [*inputs, *kernels.parameters()]
    found = [
        torch.autograd.grad(kernels(*inputs)[0].square().sum(), tensors, create_graph=graph)
        for graph in (False, True)
    ]
    assert_close(found[0], found[1], 1e-10)


def test_second_derivatives_of_the_inverse_are_refused() -> None:
    kernels, _ = _pair(3, (5,), count=2)
    x = randn(4, 3).requires_grad_()
    z, _ = kernels.inverse(x)
    (first,) = torch.autograd.grad(z.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="inverse has first derivatives only; for higher ones"):
        first.sum().backward()


@pytest.mark.parametrize("inverse", [False, True])
def test_transforms_of_functions(inverse: bool) -> None:
    """Under `torch.func` and in forward mode the pass is PyTorch's, and gives the same."""
    kernels, reference = _pair(3, (5,), 0, MAPS[0], 2)

    def total(flow: Compose) -> Callable[[Tensor], Tensor]:
        return lambda value: sum(part.sum() for part in (flow.inverse if inverse else flow)(value))

    value = randn(4, 3)
    wanted = torch.func.grad(total(reference))(value)
    assert_close(torch.func.grad(total(kernels))(value), wanted, 1e-10)
    mapped = torch.func.vmap(torch.func.grad(total(kernels)))(value)
    assert_close(mapped, wanted, 1e-10)
    if not inverse:
        tangent = randn(4, 3, seed=5)
        _, found = torch.func.jvp(total(kernels), (value,), (tangent,))
        assert_close(found, (wanted * tangent).sum(), 1e-10)
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(value, tangent)
            out = torch.autograd.forward_ad.unpack_dual(total(kernels)(dual))
        assert out.tangent is not None
        assert_close(out.tangent, (wanted * tangent).sum(), 1e-10)


@pytest.mark.parametrize("inverse", [False, True])
def test_what_is_not_wanted_gets_no_gradient(inverse: bool) -> None:
    kernels, reference = _pair(4, (6,), 1, count=2)
    value, context = randn(70, 4), randn(70, 1, seed=1)

    def found(flow: Compose, wanted: Sequence[Tensor]) -> Sequence[Tensor]:
        for parameter in flow.parameters():
            parameter.requires_grad_(False)
        for tensor in (value, context):
            tensor.requires_grad_(False)
        for tensor in wanted:
            tensor.requires_grad_()
        result, ladj = (flow.inverse if inverse else flow)(value, context)
        return torch.autograd.grad(result.square().sum() + ladj.sum(), wanted)

    for wanted in ([value], [context], [next(kernels.parameters())]):
        assert_close(found(kernels, wanted), found(reference, wanted), 1e-10)


@pytest.mark.parametrize("inverse", [False, True])
def test_one_result_alone_may_be_used(inverse: bool) -> None:
    kernels, reference = _pair(4, (6,), count=2)
    for part in (0, 1):
        value = randn(9, 4).requires_grad_()
        grads = [
            torch.autograd.grad(
                (flow.inverse if inverse else flow)(value)[part].square().sum(),
                [value, *flow.parameters()],
                allow_unused=True,
                materialize_grads=True,
            )
            for flow in (kernels, reference)
        ]
        assert_close(grads[0], grads[1], 1e-10)


def test_weights_that_change_before_the_backward_pass_are_noticed() -> None:
    kernels, _ = _pair(4, (6,), count=2)
    x, ladj = kernels(randn(5, 4))
    with torch.no_grad():
        next(kernels.parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (x.sum() + ladj.sum()).backward()


def test_weights_of_another_shape_are_refused() -> None:
    """What is read by address is checked."""
    made = MADE(4, (0.0, 0.0), (6,))
    transform = Autoregressive(made, "affine", inverse="compiled")
    bad = {"conditioner.weight": torch.zeros(3, 4)}
    with pytest.raises(ValueError, match=r"weight must be of shape \(72,\).*got \(3, 4\)"):
        torch.func.functional_call(transform, bad, (torch.zeros(5, 4),))
    made.bias.data = made.bias.data.double()
    with pytest.raises(ValueError, match=r"weight must be .* torch.float64 .*got .* torch.float32"):
        transform(torch.zeros(5, 4))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("conditioner.bias", torch.zeros(2), r"bias must be of shape \(14,\).*got \(2,\)"),
        ("conditioner.weight", torch.zeros(2), r"weight must be of shape \(72,\)"),
        ("conditioner.bias", torch.zeros(14).double(), "and torch.float64 .* and torch.float32"),
        ("order", torch.tensor([0, 1, 2, 7]), "orders must be permutations"),
        ("order", torch.tensor([0, 1, 2, 2]), "orders must be permutations"),
        ("order", torch.tensor([0, 1, 2]), r"orders must be 4 integers.* got shape \(3,\)"),
        ("order", torch.zeros(4, dtype=torch.long, device="meta"), r"orders must be .* on meta"),
    ],
)
def test_what_is_read_by_address_is_checked(name: str, tensor: Tensor, message: str) -> None:
    class Backwards(torch.nn.Module):
        def __init__(self, transform: Autoregressive) -> None:
            super().__init__()
            self.transform = transform

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.transform.inverse(x)

    made = MADE(4, (0.0, 0.0), (6,))
    transform = Autoregressive(made, "affine", order=[3, 2, 1, 0], inverse="compiled")
    for module, state in (
        (transform, {name: tensor}),
        (Backwards(transform), {f"transform.{name}": tensor}),
    ):
        with pytest.raises(ValueError, match=message):
            torch.func.functional_call(module, state, (torch.zeros(5, 4),))


@pytest.mark.parametrize(
    "order",
    [torch.tensor([2, 9, 0, 9, 3, 9, 1])[::2], torch.tensor([2, 0, 3, 1], dtype=torch.int32)],
    ids=["strided", "int32"],
)
def test_orders_of_any_layout(order: Tensor) -> None:
    made = MADE(4, (0.0, 0.0), (6,), generator=generator(1))
    given, plain = (
        Autoregressive(made, "affine", order=[0, 1, 2, 3], inverse=inverse).double()
        for inverse in ("compiled", "cached")
    )
    given.order = plain.order = order
    x = randn(5, 4)
    assert_close(given.inverse(x), plain.inverse(x))


def test_results_without_gradients_may_be_changed_in_place() -> None:
    kernels, _ = _pair(4, (6,), count=2)
    with torch.no_grad():
        x, _ = kernels(randn(5, 4))
    x += torch.ones(4, dtype=x.dtype, requires_grad=True)
    assert x.requires_grad


def test_subclasses_and_hooks_are_called() -> None:
    class Shifted(Autoregressive):
        def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
            x, ladj = super()._forward(z, context)
            return x + 100, ladj

    def step(kind: type[Autoregressive]) -> Autoregressive:
        return kind(MADE(4, (0.0, 0.0), (6,), generator=generator(1)), "affine").double()

    z = randn(5, 4)
    both = Compose([step(Shifted), step(Shifted)])
    assert_close(both(z)[0], both.transforms[1](both.transforms[0](z)[0])[0], 1e-12)
    assert (both(z)[0] > 50).all()
    flow, called = Compose([step(Autoregressive), step(Autoregressive)]), []
    expected = flow(z)
    for part in flow.transforms:
        part.register_forward_hook(lambda *_: called.append("part"))
        part.conditioner.register_forward_hook(lambda *_: called.append("network"))
    assert_close(flow(z), expected, 1e-12)
    assert called == ["network", "part"] * 2


@pytest.mark.parametrize("others", [1, 3])
def test_what_else_a_call_runs_is_run(others: int) -> None:
    """Backward hooks, and a forward of the object's own."""
    flow, called = _pair(4, (6,), count=others + 1)[0], []
    first = flow.transforms[0]
    first.register_full_backward_hook(lambda *_: called.append("hook"))
    x, ladj = flow(randn(5, 4).requires_grad_())
    (x.sum() + ladj.sum()).backward()
    assert called == ["hook"]
    last, forward = flow.transforms[-1], flow.transforms[-1].forward
    last.forward = lambda *inputs: called.append("forward") or forward(*inputs)
    flow(randn(5, 4))
    assert called == ["hook", "forward"]


def test_weights_made_from_others() -> None:
    """Pruned and parametrised ones are not parameters, but what is made of those."""
    made = MADE(4, (0.0, 0.0), (6, 6))
    pruned, reference = (
        Autoregressive(made, "affine", inverse=inverse).double()
        for inverse in ("compiled", "cached")
    )
    prune.l1_unstructured(made, "weight", 0.5)
    z = randn(9, 4)
    for direction in ("forward", "inverse"):
        found, expected = (getattr(each, direction)(z) for each in (pruned, reference))
        assert_close(found, expected, 1e-12)


def test_batched_gradients_of_the_pass() -> None:
    kernels, reference = _pair(3, (5,), count=2)
    z = randn(4, 3)

    def jacobian(flow: Compose) -> Tensor:
        return torch.autograd.functional.jacobian(lambda z: flow(z)[0], z, vectorize=True)

    assert_close(jacobian(kernels), jacobian(reference), 1e-12)


def test_a_tile_that_is_not_full_adds_nothing() -> None:
    """Whatever its columns beyond the batch come to, even if it is infinite."""
    made = MADE(40, (0.0, 0.0), (80,), activation="relu")
    transform = Autoregressive(made, Affine(bound=30.0), inverse="compiled").float()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        made.weights[0].fill_(1.0)
        made.weights[1].fill_(1.0)
        made.biases[1].view(40, 2)[:, 0] = 1000.0
        made.biases[1].view(40, 2)[:, 1] = -20.0
    x = torch.full((5, 40), 1000.0)
    z, ladj = transform.inverse(x)
    assert torch.equal(z, torch.zeros_like(z))
    (z.sum() + ladj.sum()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in made.parameters())


def test_a_checkpoint_keeps_no_offsets() -> None:
    kernels, _ = _pair(4, (7,), 2, count=3)
    again = Compose(list(kernels.transforms), checkpoint=True)
    x, _ = again(randn(50, 4).requires_grad_(), randn(50, 2, seed=1))
    gc.collect()
    held = [each for each in gc.get_objects() if issubclass(type(each), Tensor)]
    assert not any(each.shape == (50, 7) for each in held)
    assert x.requires_grad


@pytest.mark.parametrize("gate", [-20.0, 20.0, 120.0])
@pytest.mark.parametrize("mean", [1.0, 1e4])
def test_gates_that_are_open_or_closed_keep_their_digits(gate: float, mean: float) -> None:
    made = MADE(3, (mean, gate), (4,))
    transform = Autoregressive(made, "gated", inverse="compiled")
    with torch.no_grad():
        for weight in made.weights:
            weight.zero_()
        made.biases[-1].copy_(torch.tensor([mean, gate]).repeat(3))
    z = torch.tensor([[1e-3, -2.0, 30.0]])
    x, ladj = transform(z)
    exact = Gated().forward(z.double(), torch.tensor([mean, gate]).double().expand(1, 3, 2))
    torch.testing.assert_close(x.double(), exact[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(ladj.double(), exact[1].sum(-1), rtol=1e-6, atol=1e-45)


def test_a_kernel_that_fails_does_not_go_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels, _ = _pair(4, (6,))
    monkeypatch.setattr(threads, "run", lambda *_: None)
    with pytest.raises(RuntimeError, match="a kernel did not finish"):
        kernels(randn(5, 4))


@pytest.mark.parametrize("pooled", [False, True])
def test_work_is_shared_by_as_many_threads_as_asked_for(
    pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenMP's where PyTorch has them, otherwise a pool's, as in forked processes."""
    if pooled:
        monkeypatch.setattr(threads, "_PROCESS", -1)
        assert threads._team() is None
    taken: list[tuple[int, int]] = []
    together = threading.Barrier(3, timeout=60)

    @ctypes.CFUNCTYPE(None, ctypes.c_int64)
    def kernel(record: int) -> None:
        taken.append((threading.get_native_id(), record))
        together.wait()

    address = ctypes.cast(kernel, ctypes.c_void_p).value
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        threads.run(address, 17, 3)
        threads.run(address, 17, 3)
    finally:
        torch.set_num_threads(before)
    assert len({thread for thread, _ in taken}) >= 3
    assert [record for _, record in taken] == [17] * 6


def test_where_no_thread_can_be_started_the_caller_does_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And no thread that comes later runs what is over, whose record is gone."""

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    taken: list[int] = []
    together = threading.Barrier(2, timeout=60)

    @ctypes.CFUNCTYPE(None, ctypes.c_int64)
    def kernel(record: int) -> None:
        taken.append(record)
        if record > 17:
            together.wait()

    monkeypatch.setattr(threads, "_PROCESS", -1)
    threads._pool.cache_clear()
    address = ctypes.cast(kernel, ctypes.c_void_p).value
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        threads.run(address, 17, 3)
    assert taken == [17]
    threads.run(address, 18, 2)
    threads._pool(os.getpid(), torch.get_num_threads()).shutdown()
    assert taken == [17, 18, 18]
    threads._pool.cache_clear()


def test_an_interrupted_call_waits_for_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    caller, done = threading.get_ident(), list[int]()
    begun, wait = threading.Event(), threads.wait
    waits: list[object] = []

    @ctypes.CFUNCTYPE(None, ctypes.c_int64)
    def kernel(record: int) -> None:
        if threading.get_ident() == caller:
            begun.wait(60)
            return
        begun.set()
        time.sleep(0.2)
        done.append(record)

    def interrupted(turns: Sequence[Future[None]]) -> None:
        waits.append(turns)
        if len(waits) == 1:
            raise KeyboardInterrupt
        wait(turns)

    monkeypatch.setattr(threads, "_PROCESS", -1)
    monkeypatch.setattr(threads, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        threads.run(ctypes.cast(kernel, ctypes.c_void_p).value, 17, 2)
    assert done == [17]


@pytest.mark.parametrize("pooled", [False, True])
def test_both_kinds_of_threads_give_the_same(pooled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if pooled:
        monkeypatch.setattr(threads, "_PROCESS", -1)
    kernels, reference = _pair(9, (20,))
    with _all_threads():
        assert_close(_run(kernels, True, (300,)), _run(reference, True, (300,)), 1e-9)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("features", "hidden"), [(8, (64, 64)), (40, (70,)), (5, (130, 17))])
def test_gradients_in_single_precision(
    features: int, hidden: tuple[int, ...], inverse: bool
) -> None:
    """Whose panels have four times as many strips as a register is long."""
    kernels, reference = _pair(features, hidden, count=2, activation="relu")
    value = randn(150, features)
    found, expected = (
        gradients(
            *(flow.inverse if inverse else flow)(value.to(next(flow.parameters()))),
            list(flow.parameters()),
        )
        for flow in (copy.deepcopy(kernels).float(), reference)
    )
    for actual, wanted in zip(found, expected, strict=True):
        assert (actual - wanted).norm() <= 1e-4 * wanted.norm()


def test_precision_that_changes_before_the_backward_pass_is_refused() -> None:
    """What is saved for the backward pass is read by address."""
    kernels, _ = _pair(4, (6,), count=2)
    kernels.float()
    x, ladj = kernels(randn(5, 4).float())
    kernels.double()
    with pytest.raises((ValueError, RuntimeError), match="float32"):
        (x.sum() + ladj.sum()).backward()


def test_lossy_hooks_of_saved_tensors_are_refused() -> None:
    kernels, _ = _pair(4, (6,), count=2)
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: t.half(), lambda t: t)
    with hooks:
        x, ladj = kernels(randn(5, 4))
    with pytest.raises(ValueError, match=r"float16"):
        (x.sum() + ladj.sum()).backward()


def test_hooks_that_lay_saved_tensors_out_otherwise() -> None:
    kernels, reference = _pair(9, (20, 20), count=2)

    def strided(tensor: Tensor) -> Tensor:
        room = tensor.new_full((*tensor.shape, 2), float("nan"))
        room[..., 0] = tensor
        return room[..., 0]

    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, strided):
        found = _run(kernels, False, (150,))
    assert_close(found, _run(reference, False, (150,)), 1e-9)


def test_values_that_are_negative_views() -> None:
    kernels, reference = _pair(4, (6,))
    value = torch.view_as_complex(randn(5, 4, 2)).conj().imag
    assert value.is_neg()
    assert_close(kernels(value), reference(value), 1e-12)
    assert_close(kernels(torch._neg_view(randn(5, 4))), reference(-randn(5, 4)), 1e-12)


def test_all_transforms_of_a_call_have_a_context_or_none() -> None:
    both = _pair(4, (6,), 2, count=2)[0].transforms
    first, second = (kernels.link(each, torch.Size([5]), randn(5, 2)) for each in both)
    layout, recipe = both[0].conditioner.layout, both[0].kernel.recipes[1]
    with pytest.raises(ValueError, match="either all have a context, or all have none"):
        chain.Chain(layout, recipe, math.inf, False, [first, second._replace(offset=None)])


def test_offsets_have_a_row_for_each_value() -> None:
    (transform,) = _pair(4, (6,), 2, count=1)[0].transforms
    link = kernels.link(transform, torch.Size([5]), randn(5, 2))
    layout, recipe = transform.conditioner.layout, transform.kernel.recipes[1]
    run = chain.Chain(layout, recipe, math.inf, False, [link])
    with pytest.raises(ValueError, match="offsets must have 3 rows, got 5"):
        run.map(randn(3, 4))


def test_inference_mode_copies_and_checkpoints() -> None:
    kernels, reference = _pair(4, (6,), count=3)
    value = randn(5, 4)
    expected = reference(value)
    with torch.inference_mode():
        assert_close(kernels(value), expected, 1e-12)
    assert_close(copy.deepcopy(kernels)(value), expected, 1e-12)
    again = Compose(list(kernels.transforms), checkpoint=True)
    tensors = list(kernels.parameters())
    assert_close(gradients(*again(value), tensors), gradients(*reference(value), tensors), 1e-10)


def test_under_autocast_the_pass_is_pytorchs() -> None:
    ours, reference = _pair(4, (6,), count=2)
    value = randn(5, 4).float()
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = ours.float()(value), reference.float()(value)
    assert all(map(torch.equal, found, expected))
    assert plain()


def test_data_of_any_layout() -> None:
    kernels, reference = _pair(6, (9,), count=2)
    x = randn(6, 70)
    for view in (x.t(), x.t()[::2], x.t()[:1].expand(5, 6), x.t()[:0]):
        assert_close(kernels(view), reference(view), 1e-12)


def test_a_value_that_is_not_finite_stays_so_and_alone() -> None:
    kernels, _ = _pair(4, (8,), count=2)
    z = randn(70, 4).requires_grad_()
    clean = kernels(z)[0].detach()
    bad = z.detach().clone()
    bad[3, 1] = float("nan")
    x, ladj = kernels(bad.requires_grad_())
    others = [i for i in range(70) if i != 3]
    assert torch.equal(x[others], clean[others])
    (x[others].sum() + ladj[others].sum()).backward()
    assert bad.grad is not None
    assert torch.isfinite(bad.grad[others]).all()


@pytest.mark.parametrize("other", [lambda room: room[:-8], lambda room: room.view(torch.float64)])
def test_a_weight_that_is_another_before_the_backward_pass_is_refused(
    other: Callable[[Tensor], Tensor],
) -> None:
    """Even where the other one lies in the same memory."""
    made = MADE(4, (0.0, 0.0), (8,))
    transform = Autoregressive(made, "affine", inverse="compiled")
    room = made.weight.detach().clone()
    made.weight.data = room
    x, ladj = transform(torch.zeros(5, 4))
    made.weight.data = other(room)
    with pytest.raises((ValueError, RuntimeError), match="weight must be of shape"):
        (x.sum() + ladj.sum()).backward()
