"""Batches and noise, which are functions of the seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def generator(device: torch.device | str, *seeds: int) -> torch.Generator:
    """Return random numbers that are a function of the seeds alone."""
    mixed = 0
    for seed in seeds:
        mixed = (mixed * 6364136223846793005 + seed + 1442695040888963407) % 2**63
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


def batches(rows: int, size: int, steps: int, seed: int, done: int) -> Iterator[tuple[int, Tensor]]:
    """Give the row numbers of each step to come; every epoch takes the rows in a new order.

    Args:
        rows: number of rows of the data.
        size: rows per batch, at most `rows`.
        steps: the last step.
        seed: of the orders.
        done: steps that are behind.

    Returns:
        Steps, counted from one, and row numbers, shape (size,).
    """
    order = torch.arange(rows)
    for step in range(done + 1, steps + 1):
        epoch, place = divmod(step - 1, rows // size)
        if place == 0 or step == done + 1:
            order = torch.randperm(rows, generator=generator("cpu", seed, -1 - epoch))
        yield step, order[place * size : (place + 1) * size]
