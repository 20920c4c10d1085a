"""Batches and noise, which are functions of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from invflow import _checks

#: The number of blocks that are mixed with each other, and must be in memory together.
TOGETHER = 4


def generator(device: torch.device | str, *seeds: int) -> torch.Generator:
    """Return random numbers that are a function of the seeds alone."""
    mixed = 0
    for seed in seeds:
        number = _checks.integer("seed", seed)  # one of NumPy would overflow
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return torch.Generator(device).manual_seed(mixed)


def batch_size(wanted: int, rows: int, devices: int) -> int:
    """Return how many rows a batch has, on all devices together.

    Raises:
        ValueError: the devices cannot share it evenly.

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
    """Give the row numbers of each step to come; every epoch takes the rows in a new order.

    Rows that lie in one block are all mixed. Of several blocks, such as the row groups of a file
    that does not fit into memory, the order is random, and the rows of `TOGETHER` of them in
    succession are mixed.

    Args:
        blocks: how many rows each block of the data has; rows are numbered through.
        size: rows per batch, at most those of all blocks.
        steps: the last step.
        seed: of the orders.
        done: steps that are behind.

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
    """Give all row numbers in a random order, in parts."""
    if len(blocks) == 1:
        yield torch.randperm(blocks[0], generator=random)
        return
    first = [0, *accumulate(blocks)]
    for few in torch.randperm(len(blocks), generator=random).split(TOGETHER):
        rows = torch.cat([torch.arange(first[block], first[block + 1]) for block in few.tolist()])
        yield rows[torch.randperm(len(rows), generator=random)]


def _split(parts: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    """Give tensors of one size out of others; what is left in the end is dropped."""
    left = torch.empty(0, dtype=torch.long)
    for part in parts:
        *whole, left = torch.cat([left, part]).split(size)
        if len(left) == size:
            whole, left = [*whole, left], left[:0]
        yield from whole
