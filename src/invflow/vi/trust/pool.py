"""Draws of a flow with their log densities, evaluated once for all results that use them."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from typing import NamedTuple

import torch
from torch import Tensor

from invflow._modes import evaluating
from invflow._tensors import as_bytes
from invflow.flows.distribution import FlowDistribution
from invflow.flows.named import Named
from invflow.vi.targets.density import VECTORS_AT_ONCE, Density
from invflow.vi.targets.target import Target


class Draws(NamedTuple):
    """Vectors z, (draws, dim), with log p and log q of each, (draws,)."""

    z: Tensor
    log_p: Tensor
    log_q: Tensor


class Pool:
    """Draws of a flow that grow in number as more are asked for.

    They come in chunks from one generator, so that the first n are the same however many there are.

    Args:
        flow: calling it gives a distribution without context.
        density: of the target.
        generator: random numbers.
    """

    def __init__(self, flow: Named, density: Density, generator: torch.Generator) -> None:
        self.flow, self.density = flow, density
        self._generator = generator
        self._chunks: list[Draws] = []
        self._digest = _digest(flow)

    def first(self, count: int) -> Draws:
        """Return the first `count` draws, evaluating those that are new."""
        while VECTORS_AT_ONCE * len(self._chunks) < count:
            state = self._generator.get_state()
            try:
                chunk = evaluated(self.flow, self.density, VECTORS_AT_ONCE, self._generator)
            except BaseException:  # such as Ctrl-C: the next call draws the same again
                self._generator.set_state(state)
                raise
            self._chunks.append(chunk)
        return Draws(*(torch.cat(parts)[:count] for parts in zip(*self._chunks, strict=True)))

    def is_of(self, flow: Named, target: Target, generator: torch.Generator) -> bool:
        """Whether these would be drawn again: same flow with the same numbers, target and seed."""
        return (
            self.flow is flow
            and self.density.target is target
            and self._generator.initial_seed() == generator.initial_seed()
            and self._digest == _digest(flow)
        )


def _digest(flow: Named) -> bytes:
    """Return the sha256 of a flow's numbers: counters of changes miss those through `.data`."""
    hashed = hashlib.sha256()
    for value in (*flow.parameters(), *flow.buffers()):
        hashed.update(f"{value.device} {value.dtype} {tuple(value.shape)}".encode())
        hashed.update(as_bytes(value.detach().cpu().contiguous()))
    return hashed.digest()


@torch.no_grad()
def evaluated(flow: Named, density: Density, count: int, generator: torch.Generator) -> Draws:
    """Return `count` draws of a flow in evaluation mode, with log p and log q of each."""
    with evaluating(flow):
        parts = [
            (z, density.exact(z), log_q)
            for z, log_q in drawn(flow(validate_args=False), count, generator)
        ]
    return Draws(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def drawn(
    distribution: torch.distributions.Distribution, count: int, generator: torch.Generator
) -> Generator[tuple[Tensor, Tensor]]:
    """Yield `count` draws of a flow's or a mixture's distribution and their log q, in chunks."""
    for start in range(0, count, VECTORS_AT_ONCE):
        shape = (min(VECTORS_AT_ONCE, count - start),)
        if isinstance(distribution, FlowDistribution) and distribution.has_rsample:
            yield distribution.rsample_and_log_prob(shape, generator=generator)
        else:
            z: Tensor = distribution.sample(shape, generator=generator)  # pyright: ignore[reportCallIssue]
            yield z, distribution.log_prob(z)
