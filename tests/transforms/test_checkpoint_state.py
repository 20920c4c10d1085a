"""Checkpointing runs a transform twice: what it keeps must move once."""

from __future__ import annotations

import torch

from invflow.transforms import BatchNorm, Compose, Inverse
from tests.helpers import randn


def test_running_averages_move_once() -> None:
    x = randn(7, 2) + 3
    found: list[torch.Tensor] = []
    for checkpoint in (False, True):
        norm = BatchNorm(2).double()
        backwards = Compose(
            [Inverse(Compose([norm], checkpoint=checkpoint))], checkpoint=checkpoint
        )
        z, ladj = backwards(x.clone().requires_grad_())
        (z.square().sum() + ladj.sum()).backward()
        found.append(torch.cat([norm.running_mean, norm.running_variance]))
    assert torch.equal(*found)
