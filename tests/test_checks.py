"""Checks of arguments name the argument, what came and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from invflow import _checks

X = torch.zeros(5, 3)
CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "negative-size": (
        lambda: _checks.sample_shape((2, -1)),
        ValueError,
        r"sample_shape must have sizes of at least 0, got \(2, -1\)",
    ),
    "features": (
        lambda: _checks.event("x", X, 4),
        ValueError,
        r"x must have shape \(\*batch, 4\), the last dimension being features, got \(5, 3\)",
    ),
    "device": (
        lambda: _checks.event("x", X, 3, X.to("meta")),
        ValueError,
        "x must be on the module's device meta, got cpu",
    ),
    "context": (
        lambda: _checks.context(X, 3, torch.Size([4])),
        ValueError,
        r"context must broadcast to the batch shape \(4,\), got batch shape \(5,\)",
    ),
    "order-of-one-number": (
        lambda: _checks.permutation("order", torch.tensor(0), 1),
        TypeError,
        r"order must be a sequence of integers, got tensor\(0\)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call()
