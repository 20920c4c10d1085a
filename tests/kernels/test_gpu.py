"""The kernels for CUDA: interpreted, compiled for a card, and, where there is one, run on it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from invflow import kernels
from invflow.conditioners import MADE
from invflow.inverses import choice
from invflow.kernels import door
from invflow.transforms import Autoregressive
from invflow.univariate import Additive, Affine, Gated, Univariate
from tests.helpers import assert_close, generator, gradients, perturbed, randn

triton_needed = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


@triton_needed
def test_in_tritons_interpreter() -> None:
    tests = Path(__file__).with_name("interpreted.py")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from invflow.kernels.gpu import engine, sweeps

kernel = getattr(sweeps, sys.argv[1])
constants = {
    "LAYERS": 3, "OUTPUTS": 2, "DIRECT": True, "RESIDUAL": True, "ACTIVATION": "gelu",
    "MAP": "gated", "BOUND": 0.0, "INPUT_BOUND": 10.0, "PRECISION": "ieee",
    "BLOCK": 16, "ROWS": 16, "GROUP": 16, "DEPTH": 16,
}
types = dict.fromkeys(kernel.arg_names, "*bf16")
types |= dict.fromkeys(constants, "constexpr") | {"sums": "*fp32"}
types |= dict.fromkeys(("starts", "tops", "places", "shelves", "order"), "*i64")
for size in ("features", "batch", "panel", "offset_unit", "offset_batch"):
    if size in types:
        types[size] = "i32"
places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
source = ASTSource(fn=kernel, signature=types, constexprs=places)
found = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=engine.LAUNCH)
print(len(found.asm["ptx"]))
"""


@triton_needed
@pytest.mark.parametrize("kernel", ["sweep", "reverse_sweep"])
def test_compiles_for_a_card(kernel: str, tmp_path: Path) -> None:
    """What the interpreter lets pass, types that change in a loop among it, the compiler refuses.

    The compiler needs no card.
    """
    script = tmp_path / "compile.py"
    script.write_text(COMPILE)
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, str(script), kernel]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def _transform(features: int, map: Univariate, inverse: str, **options: Any) -> Autoregressive:
    hidden, bound = options.pop("hidden", (48, 48)), options.pop("input_bound", None)
    network = MADE(features, map.start, hidden, 2, **options, generator=generator(1))
    order = torch.randperm(features, generator=generator(2))
    transform = Autoregressive(network, map, order=order, inverse=inverse, input_bound=bound)
    return perturbed(transform, scale=0.3)


@pytest.mark.parametrize(("features", "sweeps"), [(16, True), (17, False)])
def test_auto_does_not_take_them_before_they_are_measured(features: int, sweeps: bool) -> None:
    there: Any = SimpleNamespace(device=torch.device("cuda"), shape=(5, features))
    assert not door._takes(there.device, torch.float32, "auto")
    pair = _transform(features, Affine(), "auto")._pair()
    assert choice._in_one_sweep("auto", pair, there) is sweeps


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_by_name_they_are_taken_on_a_card(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = torch.device("cuda")
    monkeypatch.setattr(door, "usable", lambda device: device == "cuda")
    assert door._takes(there, dtype, "compiled")
    monkeypatch.setattr(door, "usable", lambda device: False)
    with pytest.raises(ImportError, match=r"needs Triton 3\.5"):
        door._takes(there, dtype, "compiled")


def test_without_a_card_they_are_not_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    kernels.reason.cache_clear()
    assert kernels.reason("cuda") == "no CUDA device"
    kernels.reason.cache_clear()


@pytest.mark.parametrize(
    ("module", "reason"),
    [(None, "triton"), (SimpleNamespace(__version__="3.4.0"), "Triton 3.5 or newer, got 3.4.0")],
    ids=["none", "old"],
)
def test_what_is_missing_is_named(
    module: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "triton", module)
    for name in [name for name in sys.modules if name.startswith("invflow.kernels.gpu")]:
        monkeypatch.delitem(sys.modules, name)
    kernels.reason.cache_clear()
    assert reason in (kernels.reason("cuda") or "")
    kernels.reason.cache_clear()


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-9), (torch.float32, 1e-4), (torch.bfloat16, 0.05), (torch.float16, 0.01)],
    ids=str,
)
@pytest.mark.parametrize("map", [Affine(bound=1.7), Gated(), Additive()], ids=repr)
@pytest.mark.parametrize(
    ("features", "batch", "options"),
    [
        (1, 5, {"hidden": ()}),
        (8, 257, {}),
        (8, 257, {"input_bound": 1.0}),
        (65, 1000, {"hidden": (200, 200, 200), "residual": True, "activation": "gelu"}),
        (65, 64, {"hidden": (16,), "skip": True, "activation": "softplus"}),
    ],
)
def test_agrees_on_a_card(
    features: int, batch: int, options: dict[str, Any], map: Univariate, dtype: torch.dtype,
    tolerance: float,
) -> None:  # fmt: skip
    results: list[list[torch.Tensor]] = []
    for inverse, number in (("compiled", dtype), ("cached", torch.float64)):
        transform = _transform(features, map, inverse, **options).to("cuda", number)
        x = randn(batch, features).to("cuda", number).requires_grad_()
        context = randn(batch, 2, seed=1).to("cuda", number)
        z, ladj = transform.inverse(x, context)
        results.append([z, ladj, *gradients(z, ladj, [x, *transform.parameters()])])
    for found, wanted in zip(*results, strict=True):
        assert found.dtype == dtype
        assert (found - wanted).norm() <= tolerance * (wanted.norm() + 1)


@pytest.mark.gpu
def test_in_a_captured_graph() -> None:
    transform = _transform(20, Affine(), "compiled").to("cuda", torch.float32)
    x, context = torch.randn(100, 20, device="cuda"), torch.randn(100, 2, device="cuda")
    with torch.no_grad():
        expected = transform.inverse(x, context)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = transform.inverse(x, context)
        graph.replay()
    assert_close(found, expected, 0)
