"""Every wrong argument is refused by a message that names it, and says what was expected."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from invflow import IAF, MAF
from invflow.flows import Flow
from invflow.images import ImageDensity, Variational

Case = tuple[Callable[[], Any], type[Exception], str]

FLOW = MAF(12, 0, 1, (4,))
MODEL = ImageDensity(FLOW, 4, (3, 2, 2), 0.05)
X = torch.zeros(5, 3, 2, 2)


def with_pixel(value: float) -> torch.Tensor:
    x = X.clone()
    x[2, 1, 0, 1] = value
    return x


IMAGES: dict[str, tuple[Any, type[Exception], str]] = {
    "list": ([0, 1], TypeError, "x must be a torch.Tensor, got list"),
    "bool": (X.bool(), TypeError, "x must contain integers .* got dtype torch.bool"),
    "complex": (X + 0j, TypeError, "x must contain integers .* got dtype torch.complex64"),
    "nan": (with_pixel(math.nan), ValueError, "x must contain whole numbers, got NaN"),
    "infinite": (with_pixel(math.inf), ValueError, r"x must lie in 0 \.\. 3, got 0 to inf"),
    "between": (with_pixel(0.5), ValueError, "x must contain whole numbers, .*between levels"),
    "too-high": (with_pixel(4.0), ValueError, r"x must lie in 0 \.\. 3, got 0 to 4"),
    "too-low": (with_pixel(-1).int(), ValueError, r"x must lie in 0 \.\. 3, got -1 to 0"),
    "too-high-bytes": (with_pixel(255).byte(), ValueError, r"x must lie in 0 \.\. 3, got 0 to 255"),
    "channels-last": (X.permute(0, 2, 3, 1), ValueError, r"x must have shape \(\*batch, 3, 2, 2\)"),
    "too-long": (torch.zeros(5, 13), ValueError, r"or \(\*batch, 12\), got \(5, 13\)"),
    "scalar": (torch.tensor(1.0), ValueError, r"or \(\*batch, 12\), got \(\)"),
}


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("method", ["bound", "log_likelihood", "bits_per_dim"])
def test_images(method: str, case: str) -> None:
    x, error, message = IMAGES[case]
    with pytest.raises(error, match=message):
        getattr(MODEL, method)(x)


CASES: dict[str, Case] = {
    "no-flow": (lambda: ImageDensity(nn.Linear(1, 1), 4, (3, 2, 2)), TypeError, "flow must be a"),
    "flow-size": (
        lambda: ImageDensity(FLOW, 4, (3, 2, 1)),
        ValueError,
        "flow must be over 6 features, got 12 features",
    ),
    "one-level": (lambda: ImageDensity(FLOW, 1, (3, 2, 2)), ValueError, "levels must be at least"),
    "levels": (lambda: ImageDensity(FLOW, 4.0, (3, 2, 2)), TypeError, "levels must be an integer"),
    "shape": (lambda: ImageDensity(FLOW, 4, (3, 4)), ValueError, "shape must be .channels, height"),
    "alpha-half": (lambda: ImageDensity(FLOW, 4, (3, 2, 2), 0.5), ValueError, "alpha must be at"),
    "alpha-below": (lambda: ImageDensity(FLOW, 4, (3, 2, 2), -0.1), ValueError, "alpha .*got -0.1"),
    "alpha-nan": (lambda: ImageDensity(FLOW, 4, (3, 2, 2), math.nan), ValueError, "alpha .*nan"),
    "alpha": (lambda: ImageDensity(FLOW, 4, (3, 2, 2), "0"), TypeError, "alpha must be a number"),
    "dequantisation": (
        lambda: ImageDensity(FLOW, 4, (3, 2, 2), 0.05, "uniform"),
        TypeError,
        "dequantisation must be a Dequantisation or None, got str",
    ),
    "dequantisation-size": (
        lambda: ImageDensity(FLOW, 4, (3, 2, 2), 0.05, Variational(IAF(1, 1))),
        ValueError,
        "dequantisation must be for 12 pixels, got one for 1",
    ),
    "samples": (lambda: MODEL.bound(X, samples=0), ValueError, "samples must be at least 1"),
    "half-samples": (lambda: MODEL.bound(X, samples=1.5), TypeError, "samples must be an integer"),
    "score-samples": (lambda: MODEL.log_likelihood(X, 0), ValueError, "samples must be at least 1"),
    "chunk": (lambda: MODEL.bits_per_dim(X, chunk=0), ValueError, "chunk must be at least 1"),
    "count": (lambda: MODEL.sample(0), ValueError, "count must be at least 1"),
    "sample-chunk": (lambda: MODEL.sample(2, chunk=0), ValueError, "chunk must be at least 1"),
    "density-integers": (
        lambda: MODEL.log_density(torch.zeros(2, 12).long()),
        TypeError,
        "x must have a floating-point dtype",
    ),
    "noise-no-flow": (lambda: Variational("iaf"), TypeError, "flow must be a Flow, got str"),
    "noise-no-context": (
        lambda: Variational(IAF(3)),
        ValueError,
        "flow must have a context, which receives the image",
    ),
    "noise-context": (
        lambda: Variational(IAF(3, 2)),
        ValueError,
        "flow must have a context of 3 for the image, or an encoder must be given, got 2",
    ),
    "noise-encoder": (
        lambda: Variational(IAF(3, 2), lambda x: x),
        TypeError,
        "encoder must be a module or None, got function",
    ),
    "noise-gradient": (
        lambda: Variational(
            Flow(IAF(3, 3).transform, {"name": "mixture", "components": ["normal", "normal"]})
        ),
        ValueError,
        "flow must have a base with reparameterised samples, got Mixture",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_arguments(case: str) -> None:
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call()
