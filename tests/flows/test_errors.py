"""Messages of the flows that no other test reaches, word for word."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from invflow import IAF, MAF
from invflow.flows import FlowMixture, Mixture, Uniform, to_pyro
from tests.helpers import randn

CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "bounds": (
        lambda: Uniform(2, low=1.0, high=1.0),
        ValueError,
        "low must be below high, and both finite, got 1.0 and 1.0",
    ),
    "mixture-base-draws": (
        lambda: Mixture(2, ["normal", "logistic"]).rsample(
            [3], dtype=torch.float32, device=torch.device("cpu")
        ),
        NotImplementedError,
        "a mixture has no reparameterised samples; use sample",
    ),
    "batch-shape": (
        lambda: IAF(2, context=1)(randn(3, 1).float()).expand((1,)),
        ValueError,
        r"batch_shape must extend \(3,\), got \(1,\)",
    ),
    "mixture-of-what": (
        lambda: FlowMixture(IAF(2)),  # pyright: ignore[reportArgumentType]
        TypeError,
        "flows must be a sequence, got IAF",
    ),
    "mixture-sizes": (
        lambda: FlowMixture([IAF(2), MAF(3, context=1)]),
        ValueError,
        r"flows must all have 2 features and a context of 0, got 3 and 1 in flows\[1\]",
    ),
    "mixture-dtypes": (
        lambda: FlowMixture([IAF(2), IAF(2).double()]),
        ValueError,
        r"flows must all be of dtype torch.float32, got torch.float64 in flows\[1\]",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call()


def test_what_pyro_needs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "invflow.flows._pyro", None)
    with pytest.raises(ImportError, match=r'to_pyro needs Pyro: pip install "invflow\[pyro\]"'):
        to_pyro(IAF(2)())
