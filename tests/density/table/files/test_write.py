"""Tables in files: whole or not at all, at once or block by block."""

from __future__ import annotations

import gzip
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from invflow.density.table import Source, read, write, write_blocks
from invflow.density.table.source import blocks

TABLE = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, -1.25, 1e-300]})


def whole(source: Source) -> pd.DataFrame:
    return pd.concat(list(blocks(source)))


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.parquet"])
def test_written_tables_are_read_again(tmp_path: Path, name: str) -> None:
    frame = TABLE.assign(c=["x", "y,\t'z", 'q"'], d=[True, False, True])
    write(frame, tmp_path / name)
    pd.testing.assert_frame_equal(whole(read(tmp_path / name)), frame)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith("gz"):
        assert gzip.decompress((tmp_path / name).read_bytes()).startswith(b"a,b,c,d\n")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_failed_write_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write(TABLE, tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def fail(*args: object, **options: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(import_module("invflow.density.table.files.write"), "lines", fail)
    monkeypatch.setattr(parquet.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="no space"):
        write(TABLE * 2, tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    with pytest.raises(ValueError, match=r"must end in \.csv, \.csv\.gz, \.tsv or \.parquet"):
        write(TABLE, tmp_path / "t.npz")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.parquet"])
def test_blocks_are_written_as_one_table(tmp_path: Path, name: str) -> None:
    frame = TABLE.assign(c=["x", "y", "z"])
    write_blocks((frame[i : i + 1] for i in range(3)), tmp_path / name)
    pd.testing.assert_frame_equal(whole(read(tmp_path / name)), frame)
    if name.endswith("parquet"):
        assert parquet.ParquetFile(tmp_path / name).num_row_groups == 3


@pytest.mark.parametrize("first", [[None, None], [np.nan, np.nan]])
def test_gaps_in_some_row_groups(tmp_path: Path, first: list[float]) -> None:
    """Read alone, whole numbers with a gap among them are floats, and a group of gaps nothing."""
    parts = [
        pd.DataFrame({"a": pd.Series(first), "n": [1, 2]}),
        pd.DataFrame({"a": [0.5, 1.0], "n": [3.0, np.nan]}),
    ]
    write_blocks(parts, tmp_path / "t.parquet")
    found = parquet.read_table(tmp_path / "t.parquet")
    assert found.to_pydict() == {"a": [None, None, 0.5, 1.0], "n": [1, 2, 3, None]}


def test_a_block_that_fails_harms_nothing(tmp_path: Path) -> None:
    def failing() -> object:
        yield TABLE
        raise OSError("the disk is gone")

    for name in ("t.csv", "t.parquet"):
        with pytest.raises(OSError, match="the disk is gone"):
            write_blocks(failing(), tmp_path / name)  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("labels", [[1, 2], [0.5, "b"], [3, ("a", 1)]], ids=str)
def test_labels_become_strings(tmp_path: Path, labels: Any) -> None:
    frame = pd.DataFrame({"a": [0.5, 1.5], "b": [1, 2]})
    write(frame.set_axis(pd.Index(labels, tupleize_cols=False), axis=1), tmp_path / "t.parquet")
    names = parquet.read_schema(tmp_path / "t.parquet").names
    expected = frame.set_axis(names, axis=1)
    pd.testing.assert_frame_equal(whole(read(tmp_path / "t.parquet")), expected)


@pytest.mark.parametrize("index", [["u", "v", "w"], [7, 5, 3]])
@pytest.mark.parametrize("name", [None, "key"])
def test_parquet_keeps_the_index(tmp_path: Path, index: list[Any], name: str | None) -> None:
    frame = TABLE.set_axis(pd.Index(index, name=name), axis=0)
    write_blocks((frame[i : i + 1] for i in range(3)), tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), frame)
    source = read(tmp_path / "t.parquet")
    write(source.block(0), tmp_path / "again.parquet", schema=source.schema)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again.parquet"), frame)
