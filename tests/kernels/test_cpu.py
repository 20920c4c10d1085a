"""The kernels against the same in PyTorch, and when they are taken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from invflow import kernels
from invflow.conditioners import ACTIVATIONS, MADE, Activation, Conditioner
from invflow.kernels import operators
from invflow.kernels.cpu import library, threads
from invflow.transforms import Autoregressive
from invflow.univariate import Additive, Affine, CircularSpline, Gated, Spline, Univariate
from tests.helpers import assert_close, generator, gradients, perturbed, randn

TESTS: Sequence[str] = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")
MAPS = [Affine(bound=2.0), Gated(), Additive(), Spline(bins=3, low=-2.0, high=1.5)]


def _pair(
    features: int, hidden: tuple[int, ...], context: int, map: Univariate, **options: object
) -> tuple[Autoregressive, Autoregressive]:
    """Return a transform that is compiled and the same one that is not."""
    network = MADE(features, map.start, hidden, context, generator=generator(1), **options)
    order = torch.randperm(features, generator=generator(2))
    kernel = perturbed(Autoregressive(network, map, order=order, inverse="compiled"))
    return kernel, Autoregressive(network, map, order=order, inverse="cached").double()


def _found(
    transform: Autoregressive, batch: tuple[int, ...], dtype: torch.dtype
) -> tuple[Tensor, Tensor, list[Tensor]]:
    transform.to(dtype)
    x = randn(*batch, transform.features).to(dtype).requires_grad_()
    context = randn(*batch, transform.context, seed=1).to(dtype).requires_grad_()
    tensors = [x, *transform.parameters(), *([context] if transform.context else [])]
    z, ladj = transform.inverse(x, context if transform.context else None)
    return z.detach(), ladj.detach(), gradients(z, ladj, tensors)


@pytest.mark.parametrize("batch", [(), (7,), (3, 50)], ids=str)
@pytest.mark.parametrize("map", MAPS, ids=repr)
def test_agrees_in_single_precision(batch: tuple[int, ...], map: Univariate) -> None:
    pair = _pair(9, (20, 20), 2, map, residual=True)
    found, expected = (_found(transform, batch, torch.float32) for transform in pair)
    digits = 1e-4 if isinstance(map, Spline) else 1e-5
    for actual, wanted in zip([*found[:2], *found[2]], [*expected[:2], *expected[2]], strict=True):
        assert actual.dtype == torch.float32
        assert (actual - wanted).norm() <= digits * wanted.norm() + 1e-6


@pytest.mark.parametrize(
    ("map", "context", "batch"),
    # Less than a tile, and a whole one.
    [*((map, 2, 4) for map in MAPS), (MAPS[0], 0, 4), (MAPS[0], 0, 32)],
    ids=repr,
)
def test_operators_keep_torchs_rules(map: Univariate, context: int, batch: int) -> None:
    transform, _ = _pair(5, (6,), context, map)
    assert isinstance(transform.conditioner, MADE)
    kind = transform.kernel
    assert kind is not None
    with torch.no_grad():
        offset, weights = transform.conditioner.pack((batch,), randn(batch, 2) if context else None)
    weights = [weight.detach() for weight in weights]
    names = (*kind.recipes, torch.arange(5))
    arguments = (*names, randn(batch, 5), offset.detach(), weights)
    torch.library.opcheck(operators.sweep, arguments, test_utils=TESTS)
    z, _, params, hidden = operators.sweep(*arguments)
    arguments = (*names, z, params, hidden, randn(batch, 5), randn(batch), weights)
    torch.library.opcheck(operators.reverse_sweep, arguments, test_utils=TESTS)


def test_data_of_any_layout() -> None:
    transform, reference = _pair(6, (9,), 0, Affine())
    x = randn(6, 70)
    for view in (x.t(), x.t()[::2], x.t()[:1].expand(5, 6), x.t().double()[:0]):
        assert_close(transform.inverse(view), reference.inverse(view), 1e-12)


def test_data_that_is_not_finite_stays_so_and_alone() -> None:
    transform, _ = _pair(4, (8,), 0, Affine())
    x = randn(70, 4)
    clean, _ = transform.inverse(x)
    x[3, 1] = float("nan")
    z, ladj = transform.inverse(x)
    assert torch.isnan(z[3, 1])
    others = [i for i in range(70) if i != 3]
    assert torch.equal(z[others], clean[others])
    assert torch.isfinite(ladj[others]).all()


@pytest.mark.parametrize(
    ("options", "map"),
    [
        ({"norm": True}, Affine()),
        ({}, Spline(bins=33)),
        ({}, CircularSpline()),
        ({"norm": True}, Spline()),
    ],
    ids=["norm", "bins", "circular", "spline-norm"],
)
def test_what_has_no_kernel_is_refused_by_name_and_served_by_auto(
    options: dict[str, bool], map: Univariate
) -> None:
    def build(inverse: str) -> Autoregressive:
        network = MADE(3, map.start, (8,), generator=generator(1), **options)
        return Autoregressive(network, map, inverse=inverse).double()

    with pytest.raises(
        ValueError, match=r'inverse="compiled" needs an affine, gated or additive map'
    ):
        build("compiled")
    x = randn(5, 3)
    assert torch.equal(build("auto").inverse(x)[0], build("cached").inverse(x)[0])


def test_an_activation_without_a_kernel_is_served_by_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    slope = Activation(F.softsign, lambda a: (1 + a.abs()) ** -2)
    monkeypatch.setitem(ACTIVATIONS, "softsign", slope)
    made = MADE(3, (0.0, 0.0), (8,), activation="softsign", generator=generator(1))
    with pytest.raises(ValueError, match=r"activations relu, .*, got MADE with .* 'softsign'"):
        Autoregressive(made, inverse="compiled")
    transform = Autoregressive(made).double()
    z = randn(5, 3)
    x, ladj = transform(z)
    found, back = transform.inverse(x)
    assert torch.allclose(found, z)
    assert torch.allclose(ladj, -back)


def test_half_precision_is_refused_by_name_and_served_by_auto() -> None:
    transform, reference = _pair(3, (8,), 0, Affine())
    x = randn(5, 3).bfloat16()
    with pytest.raises(
        ValueError, match=r"needs a CPU and single or double precision, or CUDA, got torch.b"
    ):
        transform.bfloat16().inverse(x)
    transform.inverse_method = "auto"
    assert torch.equal(transform.inverse(x)[0], reference.bfloat16().inverse(x)[0])


def test_without_the_library_auto_is_the_sweep_in_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transform, reference = _pair(3, (8,), 0, Affine())
    x = randn(5, 3)
    with monkeypatch.context() as patch:
        patch.setattr(library, "_library", lambda: "the cat ate it")
        kernels.reason.cache_clear()
        assert not kernels.usable("cpu")
        transform.inverse_method = "auto"
        assert torch.equal(transform.inverse(x)[0], reference.inverse(x)[0])
        assert torch.equal(transform(x)[0], reference(x)[0])
        with pytest.raises(ImportError, match=r"needs the C library.*\(the cat ate it\)"):
            Autoregressive(transform.conditioner, inverse="compiled")
    kernels.reason.cache_clear()
    assert kernels.usable("cpu")


class Fixed(Conditioner):
    """The same parameters for all, from no weights."""

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return torch.ones(*z.shape, self.outputs, dtype=z.dtype)


@pytest.mark.parametrize("inverse", ["auto", "fixed_point", "passes"])
def test_a_conditioner_without_weights(inverse: str) -> None:
    transform = Autoregressive(Fixed(3, 2, 0), "affine", inverse=inverse)
    z = randn(5, 3)
    assert_close(transform.inverse(transform(z)[0])[0], z, 1e-12)


def test_a_default_device_does_not_matter() -> None:
    transform, reference = _pair(3, (8,), 0, Affine())
    transform.order = None
    reference.order = None
    x = randn(5, 3)
    with torch.device("meta"):
        found = transform.inverse(x)
    assert_close(found, reference.inverse(x), 1e-12)


FORK = """
import os
import torch
from invflow.conditioners import MADE
from invflow.transforms import Autoregressive
from invflow.kernels.cpu import threads

threads.AWAKE = threads.ASLEEP = 1.0
torch.set_num_threads(2)
transform = Autoregressive(MADE(3, (0.0, 0.0), (8,)), "affine", inverse="compiled")
with torch.no_grad():
    x = torch.randn(200, 3)
    before = transform.inverse(x)[1]
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(transform.inverse(x)[1], before) else 3)
print(os.waitpid(child, 0)[1])
"""


def test_a_forked_process_has_threads_of_its_own() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0", done.stderr


LATE = """
import multiprocessing
import torch

def child(answers):
    from invflow.conditioners import MADE
    from invflow.transforms import Autoregressive
    from invflow.kernels.cpu import threads

    threads.AWAKE = threads.ASLEEP = 1.0
    transform = Autoregressive(MADE(3, (0.0, 0.0), (8,)), "affine", inverse="compiled")
    with torch.no_grad():
        x = torch.randn(200, 3)
        answers.put(bool((transform(transform.inverse(x)[0])[0] - x).abs().max() < 1e-3))

torch.set_num_threads(2)
torch.randn(600, 600) @ torch.randn(600, 600)
torch.randn(10**6).exp()
context = multiprocessing.get_context("fork")
multiprocessing.set_start_method("fork", force=True)
answers = context.Queue()
process = context.Process(target=child, args=(answers,))
process.start()
print(answers.get(timeout=100))
process.join()
"""


def test_a_forked_process_that_comes_to_know_the_library_late() -> None:
    """OpenMP's threads, which the parent had, would be waited for forever."""
    command = [sys.executable, "-W", "ignore", "-c", LATE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "True", done.stderr


def test_callers_on_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "AWAKE", 1.0)
    monkeypatch.setattr(threads, "ASLEEP", 1.0)
    transform, _ = _pair(5, (9,), 0, Affine())
    data = [randn(150, 5, seed=seed) for seed in range(12)]
    expected = [transform.inverse(x)[0] for x in data]

    def inverse(x: Tensor) -> Tensor:
        torch.set_num_threads(2)  # a caller's own
        return transform.inverse(x)[0]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(inverse, data))
    assert all(map(torch.equal, found, expected))
