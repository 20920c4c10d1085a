"""Gradient checkpointing: the same gradients from less memory."""

from __future__ import annotations

import pytest
import torch

from invflow import IAF
from invflow.transforms import Transform
from tests.helpers import (
    assert_close,
    context_for,
    directed,
    generator,
    gradients,
    perturbed,
    randn,
)
from tests.transforms.memory import kept_bytes


def _transform(checkpoint: bool, context: int = 0, transforms: int = 6) -> Transform:
    options = {"checkpoint": checkpoint, "generator": generator(1), "inverse": "cached"}
    return perturbed(IAF(8, context, transforms, (64, 64), **options), scale=0.3).transform


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("context", [0, 2])
def test_same_gradients(direction: str, context: int) -> None:
    found = []
    for checkpoint in (False, True):
        transform = _transform(checkpoint, context)
        value, c = randn(5, 8).requires_grad_(), context_for(transform, 5)
        inputs = [value] if c is None else [value, c.requires_grad_()]
        result, ladj = directed(transform, direction)(value, c)
        found.append([result, ladj, *gradients(result, ladj, [*inputs, *transform.parameters()])])
    assert_close(found[1], found[0], 1e-14)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_less_memory(direction: str) -> None:
    """What stays between the passes is what goes in and out of each of the six transforms."""
    value = randn(64, 8).requires_grad_()
    plain, checkpointed = (directed(_transform(on), direction) for on in (False, True))
    kept = kept_bytes(lambda: plain(value)), kept_bytes(lambda: checkpointed(value))
    assert kept[1] < kept[0] / 4
    # Values of 4 kB each go in and out of six transforms.
    assert kept[1] >= 5 * value.nbytes


def test_compiles() -> None:
    transform, value = _transform(True, transforms=2), randn(5, 8)
    compiled = torch.compile(transform, backend="aot_eager", fullgraph=True)
    assert_close(compiled(value), transform(value), 1e-12)
