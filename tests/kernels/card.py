"""What the tests of the CUDA kernels run, with a card and without one."""

from __future__ import annotations

from typing import Any

import torch

from invflow.conditioners import MADE
from invflow.transforms import Autoregressive
from invflow.univariate import Additive, Affine, Gated, Univariate
from tests.helpers import generator, perturbed

#: Precisions, and how close to double precision results are.
TOLERANCES = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
    torch.bfloat16: 0.05,
    torch.float16: 0.01,
}
MAPS: list[Univariate] = [Affine(bound=1.7), Gated(), Additive()]
#: Features, batch, and options of the network.
SIZES: list[tuple[int, int, dict[str, Any]]] = [
    (1, 5, {"hidden": ()}),
    (8, 257, {}),
    (8, 257, {"input_bound": 1.0}),
    (65, 1000, {"hidden": (200, 200, 200), "residual": True, "activation": "gelu"}),
    (65, 64, {"hidden": (16,), "skip": True, "activation": "softplus"}),
    (65, 64, {"hidden": (96, 96), "skip": True, "group": 20}),
]


def build(features: int, map: Univariate, inverse: str, options: dict[str, Any]) -> Autoregressive:
    """Return a perturbed transform with a context of two numbers."""
    network = {key: value for key, value in options.items() if key not in ("hidden", "input_bound")}
    made = MADE(
        features, map.start, options.get("hidden", (48, 48)), 2, **network, generator=generator(1)
    )
    order = torch.randperm(features, generator=generator(2))
    bound = options.get("input_bound")
    return perturbed(
        Autoregressive(made, map, order=order, inverse=inverse, input_bound=bound), scale=0.3
    )
