from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.func import functional_call, grad, jacrev, vmap

from invflow import Flow
from invflow.transforms import ActNorm, Compose, Elementwise
from tests.helpers import DIRECTIONS, Both, assert_close, directed, perturbed, randn

directions = pytest.mark.parametrize("direction", DIRECTIONS)
SCALES = torch.tensor([0.01, 1.0, 50.0, 1e3], dtype=torch.float64)


def data(*batch: int, seed: int = 0) -> Tensor:
    return randn(*batch, 4, seed=seed) * SCALES + SCALES.flip(0)


def unstarted(features: int = 4) -> ActNorm:
    return ActNorm(features).double()


@directions
@pytest.mark.parametrize("batch", [(7,), (2, 3)], ids=str)
def test_first_output_is_standardised(direction: str, batch: tuple[int, ...]) -> None:
    transform = unstarted()
    value, ladj = directed(transform, direction)(data(*batch))
    rows = value.detach().reshape(-1, 4)
    assert_close(rows.mean(0), torch.zeros_like(SCALES), 1e-9)
    assert_close(rows.square().mean(0), torch.ones_like(SCALES), 1e-9)
    expected = -data(*batch).reshape(-1, 4).std(0, correction=0).log().sum()
    assert_close(ladj, expected.expand(batch))


@directions
def test_both_directions_agree_after_the_first_call(direction: str) -> None:
    transform = unstarted()
    value, ladj = directed(transform, direction)(data(7))
    other = next(other for other in DIRECTIONS if other != direction)
    back, back_ladj = directed(transform, other)(value)
    assert_close(back, data(7))
    assert_close(back_ladj, -ladj)


@directions
def test_starts_once(direction: str) -> None:
    transform = unstarted()
    run = directed(transform, direction)
    first = run(data(7))
    before = {key: tensor.clone() for key, tensor in transform.state_dict().items()}
    run(data(9, seed=5) * 3)
    assert all(torch.equal(before[key], value) for key, value in transform.state_dict().items())
    assert_close(run(data(7)), first, 0)


@directions
def test_evaluation_mode_does_not_start(direction: str) -> None:
    transform = unstarted().eval()
    value, ladj = directed(transform, direction)(data(7))
    assert torch.equal(value, data(7))
    assert not ladj.any()
    assert not transform.started
    standard, _ = directed(transform.train(), direction)(data(7))
    assert standard.abs().max() < 5


@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_of_one_is_centred(direction: str, dtype: torch.dtype) -> None:
    for batch in [(), (1,)]:
        transform = ActNorm(4).to(dtype)
        value, ladj = directed(transform, direction)(data(*batch).to(dtype))
        assert not value.any()
        assert not ladj.any()
        assert transform.started


@directions
@pytest.mark.parametrize("constant", [0.0, 0.1, -1e7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_feature_is_centred(direction: str, constant: float, dtype: torch.dtype) -> None:
    batch = randn(300, 2).to(dtype)
    batch[:, 1] = constant
    transform = ActNorm(2).to(dtype)
    value, ladj = directed(transform, direction)(batch)
    assert value[:, 0].var(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert value[:, 1].abs().max() <= 1e-5 * abs(constant)
    assert transform.log_scale[1] == 0
    sign = 1 if direction == "forward" else -1
    assert_close(ladj, (sign * transform.log_scale[0]).expand(300), 1e-6)
    other = next(other for other in DIRECTIONS if other != direction)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert_close(directed(transform, other)(value)[0], batch, tolerance)


@directions
def test_empty_batch_does_not_start(direction: str) -> None:
    transform = unstarted()
    directed(transform, direction)(data(0))
    assert not transform.started
    assert torch.isfinite(directed(transform, direction)(data(7))[0]).all()


@directions
def test_gradients_flow_in_the_first_call(direction: str) -> None:
    """They are those of the affine map with the parameters that the call has set."""
    first, again = unstarted(), unstarted()
    directed(again, direction)(data(7))
    for transform in (first, again):
        value, ladj = directed(transform, direction)(data(7))
        (value.sin().sum() + ladj.sum()).backward()
    assert_close(first.shift.grad, again.shift.grad, 1e-12)
    assert_close(first.log_scale.grad, again.log_scale.grad, 1e-12)
    assert first.shift.grad.any()
    assert first.log_scale.grad.any()


@directions
@pytest.mark.parametrize("assign", [False, True])
def test_loaded_model_does_not_start_again(direction: str, assign: bool, tmp_path: Path) -> None:
    def flow() -> Flow:
        return Flow(Compose([Elementwise(4), ActNorm(4)])).double()

    ours, theirs = flow(), flow()
    directed(ours.transform, direction)(data(7))
    perturbed(ours)
    safetensors.torch.save_file(ours.state_dict(), tmp_path / "flow.safetensors")
    state = safetensors.torch.load_file(tmp_path / "flow.safetensors")
    theirs.load_state_dict(state, assign=assign)
    assert theirs.training
    other = data(9, seed=5)
    actual = directed(theirs.transform, direction)(other)
    expected = directed(ours.transform, direction)(other)
    assert_close(actual, expected, 0)
    assert all(torch.equal(state[key], value) for key, value in theirs.state_dict().items())


def test_state_from_before_the_start_starts_again() -> None:
    """The flag follows the buffer both ways."""
    transform, fresh = unstarted(), unstarted().state_dict()
    transform.inverse(data(7))
    transform.load_state_dict(fresh)
    z, _ = transform.inverse(data(9, seed=5))
    assert_close(z.mean(0), torch.zeros_like(SCALES), 1e-9)
    assert transform.started


def test_copies_are_as_far_as_the_original() -> None:
    transform = unstarted()
    fresh = copy.deepcopy(transform)
    transform.inverse(data(7))
    twin = copy.deepcopy(transform)
    assert_close(twin.inverse(data(9, seed=5)), transform.inverse(data(9, seed=5)), 0)
    twin.load_state_dict(unstarted().state_dict())  # the hook is the copy's own
    assert_close(twin.inverse(data(9))[0].mean(0), torch.zeros_like(SCALES), 1e-9)
    assert not fresh.started
    assert_close(fresh.inverse(data(9))[0].mean(0), torch.zeros_like(SCALES), 1e-9)


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@directions
@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_compiled_from_the_first_call_on(direction: str) -> None:
    eager, transform = unstarted(), unstarted()
    compiled = torch.compile(directed(transform, direction), fullgraph=True, backend="aot_eager")
    for batch in (data(7), data(7, seed=5), data(9)):
        expected, actual = directed(eager, direction)(batch), compiled(batch)
        assert_close(actual, expected)
        for result, module in ((expected, eager), (actual, transform)):
            module.zero_grad()
            (result[0].sin().sum() + result[1].sum()).backward()
        assert_close(transform.shift.grad, eager.shift.grad)
        assert_close(transform.log_scale.grad, eager.log_scale.grad)
    assert transform.started
    pairs = zip(transform.state_dict().values(), eager.state_dict().values(), strict=True)
    assert all(torch.allclose(ours, theirs) for ours, theirs in pairs)


FUNCTIONAL: dict[str, Callable[[Callable[..., tuple[Tensor, Tensor]]], object]] = {
    "vmap": lambda run: vmap(run)(data(7)),
    "vmap-of-batches": lambda run: vmap(run)(data(7, 3)),
    "grad": lambda run: grad(lambda value: run(value)[1].sum())(data(7)),
    "jacrev": lambda run: jacrev(run)(data(7)),
}


@directions
@pytest.mark.parametrize("call", FUNCTIONAL.values(), ids=FUNCTIONAL)
def test_start_inside_torch_func_is_refused(direction: str, call: Callable[..., object]) -> None:
    transform = unstarted()
    run = directed(transform, direction)
    with pytest.raises(RuntimeError, match=r"ActNorm cannot be initialised inside a torch\.func"):
        call(run)
    pairs = zip(transform.state_dict().values(), unstarted().state_dict().values(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
    assert_close(run(data(7))[0].mean(0), torch.zeros_like(SCALES), 1e-9)
    call(run)


@directions
def test_gradients(direction: str) -> None:
    transform = unstarted(3)
    transform.inverse(randn(7, 3))
    module = Both(perturbed(transform))

    def run(value: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
        state = {"transform.shift": shift, "transform.log_scale": log_scale}
        return functional_call(module, state, (direction, value))

    inputs = (randn(2, 3), transform.shift, transform.log_scale)
    inputs = tuple(tensor.detach().clone().requires_grad_() for tensor in inputs)
    assert torch.autograd.gradcheck(run, inputs)


def test_a_first_batch_that_is_not_finite_poisons_nothing() -> None:
    x = randn(6, 3)
    x[1, 0], x[2, 2] = torch.nan, torch.inf
    transform = ActNorm(3).double()
    transform.inverse(x)
    assert transform.shift[0] == transform.shift[2] == 0
    assert transform.log_scale[0] == transform.log_scale[2] == 0
    assert_close(transform.inverse(x)[0][:, 1].mean(), torch.zeros(()).double())
