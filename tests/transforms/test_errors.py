"""Messages of the transforms that no other test reaches, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from invflow.conditioners import MADE
from invflow.transforms import Autoregressive, Coupling, Elementwise, Preconditioner, Sigmoid
from invflow.univariate import Affine


class Round(Affine):
    """A map that asks for another base than most."""

    @property
    def base(self) -> dict[str, Any]:
        return {"name": "uniform"}


CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "map-of-other-parameters": (
        lambda: setattr(Elementwise(2), "univariate", "spline"),
        ValueError,
        "univariate must take 2 parameters per feature, as before, got Spline.*, which takes 23",
    ),
    "map-of-another-base": (
        lambda: setattr(Elementwise(2), "univariate", Round()),
        ValueError,
        r"univariate must suit the base \{'name': 'normal'\}, got Round",
    ),
    "part-of-other-sizes": (
        lambda: setattr(Autoregressive(MADE(3, (0.0, 0.0))), "conditioner", MADE(4, (0.0, 0.0))),
        ValueError,
        "conditioner must have features=3, as before, got 4",
    ),
    "mask-without-booleans": (
        lambda: Coupling(3, mask=[object()] * 3),  # pyright: ignore[reportArgumentType]
        TypeError,
        "mask must be a name or a sequence of booleans, got",
    ),
    "score-of-another-shape": (
        lambda: Elementwise(2).push(torch.zeros(3, 2), torch.zeros(2)),
        ValueError,
        r"score must have the shape of z, \(3, 2\), got \(2,\)",
    ),
    "bounds-too-close": (
        lambda: Sigmoid(1, low=1.0, high=1.0 + 1e-7)(torch.zeros(1)),
        ValueError,
        r"must be further apart: torch.float32 has too few numbers between them",
    ),
    "location-that-is-not-finite": (
        lambda: Preconditioner(2).set(torch.full((2,), torch.nan), torch.eye(2)),
        ValueError,
        "location and scale must be finite in torch.float32",
    ),
    "location-and-scale": (
        lambda: Preconditioner(2).set(torch.zeros(3), torch.eye(2)),
        ValueError,
        r"location and scale must have shapes \(2,\) and \(2, 2\), got \(3,\) and \(2, 2\)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call()
