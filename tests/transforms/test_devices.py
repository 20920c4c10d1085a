"""Transforms on a CUDA device against the same on the CPU."""

from __future__ import annotations

import copy

import pytest

from tests.helpers import (
    DIRECTIONS,
    TRANSFORMS,
    assert_close,
    context_for,
    directed,
    gradients,
    values,
)


@pytest.mark.gpu
@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_agree_with_the_cpu(name: str, direction: str) -> None:
    here = TRANSFORMS[name]()
    there = copy.deepcopy(here).to("cuda")
    value, context = values(here, direction, 5), context_for(here, 5)
    found, wanted = [], []
    for transform, results, device in ((there, found, "cuda"), (here, wanted, "cpu")):
        start = value.to(device, copy=True).requires_grad_()
        given = None if context is None else context.to(device)
        after, ladj = directed(transform, direction)(start, given)
        results += [after, ladj, *gradients(after, ladj, [start, *transform.parameters()])]
    for one, other in zip(found, wanted, strict=True):
        assert one.device.type == "cuda"
        assert_close(one.cpu(), other, 1e-8)
