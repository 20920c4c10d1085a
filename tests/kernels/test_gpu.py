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
from invflow.inverses import choice
from invflow.kernels import door
from invflow.univariate import Affine, Spline, Univariate
from tests.helpers import assert_close, gradients, randn
from tests.kernels.card import MAPS, SIZES, TOLERANCES, build

triton_needed = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


def _passes(module: str, *options: str, **environment: str) -> None:
    """Run tests in a process of their own."""
    tests = Path(__file__).with_name(module)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(tests)]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr


@triton_needed
def test_in_tritons_interpreter() -> None:
    _passes("interpreted.py", TRITON_INTERPRET="1")


@triton_needed
@pytest.mark.slow
@pytest.mark.parametrize("which", ["not slow", "slow"])
def test_launched_without_a_card(which: str, tmp_path: Path) -> None:
    """What the interpreter lets pass, the binding of the arguments and the compiler refuse."""
    _passes("launched.py", "-m", which, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path))


@pytest.mark.parametrize(("features", "sweeps"), [(16, True), (17, False)])
def test_auto_does_not_take_them_before_they_are_measured(features: int, sweeps: bool) -> None:
    there: Any = SimpleNamespace(device=torch.device("cuda"), shape=(5, features))
    assert not door._takes(there.device, torch.float32, "auto", Affine())
    pair = build(features, Affine(), "auto", {})._pair()
    assert choice._in_one_sweep("auto", pair, there) is sweeps


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_by_name_they_are_taken_on_a_card(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = torch.device("cuda")
    monkeypatch.setattr(door, "usable", lambda device: device == "cuda")
    assert door._takes(there, dtype, "compiled", Affine())
    with pytest.raises(ValueError, match="or CUDA and another map than a spline, got"):
        door._takes(there, dtype, "compiled", Spline())
    monkeypatch.setattr(door, "usable", lambda device: False)
    with pytest.raises(ImportError, match=r"needs Triton 3\.5"):
        door._takes(there, dtype, "compiled", Affine())


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
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items(), ids=str)
@pytest.mark.parametrize("map", MAPS, ids=repr)
@pytest.mark.parametrize(("features", "batch", "options"), SIZES)
def test_agrees_on_a_card(
    features: int, batch: int, options: dict[str, Any], map: Univariate, dtype: torch.dtype,
    tolerance: float,
) -> None:  # fmt: skip
    results: list[list[torch.Tensor]] = []
    for inverse, number in (("compiled", dtype), ("cached", torch.float64)):
        transform = build(features, map, inverse, options).to("cuda", number)
        x = randn(batch, features).to("cuda", number).requires_grad_()
        context = randn(batch, 2, seed=1).to("cuda", number)
        z, ladj = transform.inverse(x, context)
        results.append([z, ladj, *gradients(z, ladj, [x, *transform.parameters()])])
    for found, wanted in zip(*results, strict=True):
        assert found.dtype == dtype
        assert (found - wanted).norm() <= tolerance * (wanted.norm() + 1)


@pytest.mark.gpu
@pytest.mark.parametrize("inverse", ["compiled", "cached"])
def test_in_a_captured_graph(inverse: str) -> None:
    transform = build(20, Affine(), inverse, {}).to("cuda", torch.float32)
    x, context = torch.randn(100, 20, device="cuda"), torch.randn(100, 2, device="cuda")
    with torch.no_grad():
        expected = transform.inverse(x, context)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = transform.inverse(x, context)
        graph.replay()
    assert_close(found, expected, 1e-5)
