"""Batches: every row once an epoch, mixed within reach, the same after an interruption."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from invflow.training.batches import TOGETHER, batches, generator


def _all(blocks: list[int], size: int, steps: int, done: int = 0) -> list[list[int]]:
    return [rows.tolist() for _, rows in batches(blocks, size, steps, 5, done)]


@pytest.mark.parametrize("blocks", [[23], [5, 1, 7, 3, 4, 3], [1] * 23])
def test_an_epoch_takes_every_row_at_most_once(blocks: list[int]) -> None:
    given = _all(blocks, 4, 10)
    for epoch in (given[:5], given[5:]):
        rows = [row for batch in epoch for row in batch]
        assert len(set(rows)) == len(rows) == 20
        assert set(rows) <= set(range(23))
    assert given[:5] != given[5:]


@pytest.mark.parametrize("blocks", [[23], [5, 1, 7, 3, 4, 3]])
@pytest.mark.parametrize("done", [0, 1, 5, 7])
def test_batches_go_on_where_they_were(blocks: list[int], done: int) -> None:
    assert _all(blocks, 4, 12, done) == _all(blocks, 4, 12)[done:]


def test_one_block_is_a_permutation() -> None:
    order = torch.randperm(23, generator=generator("cpu", 5, -1)).tolist()
    assert _all([23], 4, 5) == [order[i : i + 4] for i in range(0, 20, 4)]


def test_few_blocks_are_needed_together() -> None:
    blocks = [10] * 30
    given = _all(blocks, 20, 15)
    seen: list[list[int]] = []
    for rows in given:
        seen += [sorted({row // 10 for row in rows})]
    # Forty rows of four blocks make two batches.
    for first, second in zip(seen[::2], seen[1::2], strict=False):
        assert len({*first, *second}) == TOGETHER
    starts = [blocks[0] for blocks in seen[::2]]
    assert starts != sorted(starts)


def test_a_batch_larger_than_the_blocks_that_are_mixed() -> None:
    (rows,) = _all([2] * 20, 33, 1)
    assert len(set(rows)) == 33


def test_seeds_of_another_library_give_the_same_numbers() -> None:
    first, second = (
        torch.rand(3, generator=generator("cpu", *seeds))
        for seeds in ((np.int64(2**40), torch.tensor(3)), (2**40, 3))
    )
    assert torch.equal(first, second)
