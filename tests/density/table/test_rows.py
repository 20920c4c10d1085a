"""Rows as tensors, the blocks they come in, and how they are set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from invflow.density.table import Columns, Frame, Parquet, Rows, survey
from invflow.density.table.rows import KEPT_BLOCKS
from invflow.density.table.source import Selection, blocks, split
from invflow.training.batches import batches

COUNT = 101


@pytest.fixture
def frame() -> pd.DataFrame:
    source = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(COUNT),
            "x": source.normal(size=COUNT),
            "group": source.choice(["u", "v", "w"], COUNT),
        }
    )


@pytest.fixture
def streamed(frame: pd.DataFrame, tmp_path: Path) -> Parquet:
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=8)
    return Parquet(tmp_path / "t.parquet")


@pytest.fixture
def columns(frame: pd.DataFrame) -> Columns:
    return survey(Frame(frame), conditional_on=["group"])


class Counted:
    """A source that counts how often its blocks are read."""

    def __init__(self, source: Parquet) -> None:
        self.names: tuple[str, ...] = source.names
        self.blocks: Sequence[int] = source.blocks
        self.source = source
        self.read = Counter[int]()

    def block(self, number: int) -> pd.DataFrame:
        self.read[number] += 1
        return self.source.block(number)


def test_blocks_give_the_rows_of_the_whole(
    frame: pd.DataFrame, streamed: Parquet, columns: Columns
) -> None:
    whole, parts = Rows(Frame(frame), columns), Rows(streamed, columns)
    assert len(streamed.blocks) == 13
    assert len(whole) == len(parts) == COUNT
    indices = torch.randint(COUNT, (300,))
    for one, other in zip(whole[indices], parts[indices], strict=True):
        assert one.dtype == torch.float64
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    features, context = parts[indices]
    np.testing.assert_array_equal(features[:, 0].numpy(), indices.numpy())
    names = np.array(["u", "v", "w"])[context.argmax(1).numpy()]
    assert names.tolist() == frame["group"].iloc[indices.numpy()].tolist()


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_parts_are_all_rows_in_order(streamed: Parquet, columns: Columns, size: int) -> None:
    parts = [features for features, _ in Rows(streamed, columns).parts(size)]
    assert max(map(len, parts)) <= size
    torch.testing.assert_close(torch.cat(parts)[:, 0], torch.arange(COUNT, dtype=torch.float64))


def test_few_blocks_are_kept(streamed: Parquet, columns: Columns) -> None:
    source = Counted(streamed)
    rows = Rows(source, columns)
    for number in range(KEPT_BLOCKS):
        rows.block(number)
    rows.block(0)
    assert source.read[0] == 1
    rows.block(KEPT_BLOCKS)  # in the place of block 1, which was not asked for for longest
    rows.block(0)
    assert source.read[0] == 1
    rows.block(1)
    assert source.read[1] == 2
    assert len(rows._kept) == KEPT_BLOCKS


def test_an_epoch_sees_every_row_and_reads_every_block_once(
    streamed: Parquet, columns: Columns
) -> None:
    source = Counted(streamed)
    rows = Rows(source, columns)
    seen = [rows[indices][0][:, 0] for _, indices in batches(rows.blocks, 1, COUNT, seed=0, done=0)]
    assert sorted(torch.cat(seen).tolist()) == list(range(COUNT))
    assert source.read == Counter(dict.fromkeys(range(13), 1))


@pytest.mark.parametrize("size", [7, 16])
def test_batches_across_blocks_see_no_row_twice(
    streamed: Parquet, columns: Columns, size: int
) -> None:
    source = Counted(streamed)
    rows = Rows(source, columns)
    steps = COUNT // size
    seen = [
        rows[indices][0][:, 0] for _, indices in batches(rows.blocks, size, steps, seed=3, done=0)
    ]
    found = torch.cat(seen).tolist()
    assert len(set(found)) == len(found) == steps * size
    assert max(source.read.values()) == 1


@pytest.mark.parametrize(("rows", "fraction", "aside"), [(20, 0.1, 2), (2, 0.01, 1), (3, 0.99, 2)])
def test_rows_set_aside(rows: int, fraction: float, aside: int) -> None:
    table = Frame(pd.DataFrame({"a": np.arange(rows)}))
    train, validation = split(table, fraction, np.random.default_rng(0))
    kept, left = (next(blocks(part))["a"].tolist() for part in (train, validation))
    assert len(left) == aside
    assert sorted(kept + left) == list(range(rows))
    assert kept == sorted(kept)


def test_blocks_set_aside(streamed: Parquet) -> None:
    train, validation = split(streamed, 0.2, np.random.default_rng(0))
    kept, left = (pd.concat(list(blocks(part)))["id"].tolist() for part in (train, validation))
    assert len(validation.blocks) == 3
    assert sum(train.blocks) == len(kept)
    assert sorted(kept + left) == list(range(COUNT))
    other = split(streamed, 0.2, np.random.default_rng(1))[1]
    assert pd.concat(list(blocks(other)))["id"].tolist() != left


def test_selection(streamed: Parquet) -> None:
    selection = Selection(streamed, [12, 0])
    assert selection.blocks == (5, 8)
    assert selection.names == ("id", "x", "group")
    assert selection.block(0)["id"].tolist() == [96, 97, 98, 99, 100]
