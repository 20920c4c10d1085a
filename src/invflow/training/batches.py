"""Batches and noise, which depend only on the seed and the step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from invflow import _checks

#: Number of blocks that are shuffled together, and must fit into memory together.
TOGETHER = 4


def generator(device: torch.device | str, *seeds: int) -> torch.Generator:
    """Return a random number generator that depends only on the seeds."""
    mixed = 0
    for seed in seeds:
        number = _checks.integer("seed", seed)  # a NumPy integer would overflow
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return torch.Generator(device).manual_seed(mixed)


def batch_size(wanted: int, rows: int, devices: int) -> int:
    """Return the number of rows in a batch, over all devices.

    Raises:
        ValueError: if the devices cannot split it evenly.

    Example:
        >>> batch_size(128, rows=40, devices=2)
        40
    """
    size = min(wanted, rows)
    if size % devices:
        raise ValueError(
            f"batch_size must be a multiple of the number of devices, {devices}, "
            f"got batches of {size} rows"
        )
    return size


def batches(
    blocks: Sequence[int], size: int, steps: int, seed: int, done: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield the row numbers of each remaining step; every epoch has a new random order.

    All rows of a single block are shuffled together. Several blocks, such as the row groups of a
    file that does not fit into memory, come in random order, and the rows of `TOGETHER` successive
    blocks are shuffled together.

    Args:
        blocks: number of rows in each block; rows are numbered across blocks.
        size: rows per batch, at most those of all blocks.
        steps: the last step.
        seed: of the random orders.
        done: number of steps already done.

    Returns:
        Steps, counted from one, and row numbers, shape (size,).

    Example:
        >>> [step for step, rows in batches([5, 3], size=4, steps=3, seed=0, done=1)]
        [2, 3]
    """
    epoch_steps = sum(blocks) // size
    step = done
    while step < steps:
        epoch, behind = divmod(step, epoch_steps)
        order = _order(blocks, generator("cpu", seed, -1 - epoch))
        for place, rows in enumerate(_split(order, size)):
            if place >= behind and step < steps:
                step += 1
                yield step, rows


def _order(blocks: Sequence[int], random: torch.Generator) -> Iterator[Tensor]:
    """Yield all row numbers in random order, in parts."""
    if len(blocks) == 1:
        yield torch.randperm(blocks[0], generator=random)
        return
    first = [0, *accumulate(blocks)]
    for few in torch.randperm(len(blocks), generator=random).split(TOGETHER):
        rows = torch.cat([torch.arange(first[block], first[block + 1]) for block in few.tolist()])
        yield rows[torch.randperm(len(rows), generator=random)]


def _split(parts: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """Yield tensors of equal size; the remainder is dropped."""
    left = torch.empty(0, dtype=torch.long)
    for part in parts:
        *whole, left = torch.cat([left, part]).split(size)
        if len(left) == size:
            whole, left = [*whole, left], left[:0]
        yield from whole
