"""Files of tables: what is read, what is refused, and what is written."""

from __future__ import annotations

import gzip
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from invflow.density.table import Frame, Parquet, Source, read, survey
from invflow.density.table.dialect import Dialect

TABLE = pd.DataFrame({"a": [1.5, -2.0, 0.25], "b": [1, 2, 4]})


def whole(source: Source) -> pd.DataFrame:
    return pd.concat([source.block(i) for i in range(len(source.blocks))], ignore_index=True)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("t.csv", lambda p: TABLE.to_csv(p, index=False)),
        ("T.CSV", lambda p: TABLE.to_csv(p, index=False)),
        ("t.csv.gz", lambda p: TABLE.to_csv(p, index=False)),
        ("t.tsv", lambda p: TABLE.to_csv(p, index=False, sep="\t")),
        ("t.parquet", lambda p: TABLE.to_parquet(p)),
        ("t.npz", lambda p: np.savez(p, a=TABLE["a"], b=TABLE["b"])),
    ],
)
def test_every_kind_of_file(tmp_path: Path, name: str, save: Callable[[Path], None]) -> None:
    save(tmp_path / name)
    source = read(str(tmp_path / name))
    assert source.names == ("a", "b")
    pd.testing.assert_frame_equal(whole(source), TABLE)


@pytest.mark.parametrize(
    "text",
    [
        "\n\na,b\n1.5,1\n\n-2,2\n0.25,4\n",
        "a,b\r\n1.5,1\r\n-2,2\r\n0.25,4\r\n",
        "\ufeffa,b\n1.5,1\n-2,2\n0.25,4\n",
        '"a","b"\n1.5,1\n"-2",2\n0.25,4',
        "a,b\n1.5,1,\n-2,2,\n0.25,4,\n",
    ],
    ids=["blank lines", "windows", "byte order mark", "quotes", "trailing commas"],
)
def test_dialects_of_csv(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    pd.testing.assert_frame_equal(whole(read(tmp_path / "t.csv")), TABLE)


@pytest.mark.parametrize("end", ["\n", ",\n", "\r\n"])
def test_whole_numbers_of_text_stay_whole_beside_gaps(tmp_path: Path, end: str) -> None:
    lines = ["self,b,c,d,e,f", "2,2.0,x,,9007199254740993,inf", ",,y,,,", "3,4.0,,,5,2.0"]
    text = "".join(line + end for line in lines).replace("f" + end, "f\n", 1)
    (tmp_path / "t.csv").write_text(text, newline="")
    frame = whole(read(tmp_path / "t.csv"))
    types = {"self": "Int64", "b": "float64", "d": "float64", "e": "Int64", "f": "float64"}
    assert {name: str(frame[name].dtype) for name in types} == types
    assert frame["e"].tolist() == [9007199254740993, pd.NA, 5]
    assert frame.to_csv(index=False).splitlines() == lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv is empty"),
        ("\n", "there are no columns: all lines are empty, or comments"),
        ("a,b\n", r"t\.csv has no rows"),
        ("a,b,a\n1,2,3\n", "two columns of the table are named 'a'"),
        ("a,b\n1,2\n3,4,5\n", r"1 line\(s\) whose number of values is not 2, .*: line 3 has 3;"),
        ("a,b\n0,1,2\n1,3\n", r"1 line\(s\) whose number of values is not 3, .*: line 3 has 2;"),
        ("a,b\n0,1,2\n0,3,4\n", "2 names of columns in its first line, but lines of 3 values"),
        ('a,b\n"1,2\n3,4\n', "a quotation mark that is not closed"),
        ('a,b\n1,"2\n3,4\n', "a quotation mark that is not closed"),
        ("a;b\n1,234;2\n3,456;3\n", 'say --decimal "," or --thousands ","'),
    ],
)
def test_bad_text(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]
)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("größe,b\n1.5,ü\n".encode(encoding))
    frame = whole(read(tmp_path / "a.csv"))
    assert frame.to_dict("list") == {"größe": [1.5], "b": ["ü"]}


def test_an_encoding_that_must_be_named(tmp_path: Path) -> None:
    for content in (
        "é,b\n1,2\n".encode() + b"3,\xe9\n",
        "a,b\n1,ö".encode()[:-1],
        b"a,b\n\x81,1\n",
    ):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.csv is not UTF-8 text: .* with --encoding"):
            read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes("цена\n1\n2\n".encode("cp1251"))
    assert read(tmp_path / "a.csv", Dialect(encoding="cp1251")).names == ("цена",)
    with pytest.raises(
        ValueError, match=r"a\.csv is not ascii text: .*; name its encoding with --encoding"
    ):
        read(tmp_path / "a.csv", Dialect(encoding="ascii"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "é,b\n1,ö".encode()[:-1]),
        ("t.csv.gz", b"a,b\n1,2\n"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 100, mtime=0)[:30]),
        ("t.parquet", b"a,b\n1,2\n"),
        ("t.npz", b"PK\x03\x04no archive"),
        ("t.npz", pickle.dumps([1, 2])),
        ("t.npy", b"\x93NUMPY"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize("cut", [10, 100, 400])
def test_truncated_parquet(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "t.parquet"
    TABLE.to_parquet(path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match=r"t\.parquet is not a complete Parquet file"):
        read(path)


def test_parquet_with_damage_inside(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    TABLE.to_parquet(path)
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.parquet"):
        read(path)


def test_unknown_names_and_places(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"t\.xlsx must end in \.csv, .* or \.npy"):
        read(tmp_path / "t.xlsx")
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        read(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ValueError, match=r"folder\.csv is a directory; a table is in one file"):
        read(tmp_path / "folder.csv")
    with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
        Parquet(tmp_path / "none.parquet")


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("harm",)


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_pickles_in_arrays_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[..., None]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ("t.npy" if save is np.save else "t.npz")
    save(path, np.array([[Evil(), 1]], dtype=object))
    with pytest.raises(ValueError, match="holds Python objects; save it as an array"):
        read(path)
    assert not (tmp_path / "harm").exists()


def test_matrices(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(4, 2))
    np.save(tmp_path / "t.npy", matrix)
    np.savez(tmp_path / "one.npz", matrix)
    np.savez(tmp_path / "named.npz", other=matrix + 1, data=matrix, columns=np.array(["u", "v"]))
    for name, names in [
        ("t.npy", ("x0", "x1")),
        ("one.npz", ("x0", "x1")),
        ("named.npz", ("u", "v")),
    ]:
        source = read(tmp_path / name)
        assert source.names == names
        np.testing.assert_array_equal(whole(source).to_numpy(), matrix)


def test_record_arrays(tmp_path: Path) -> None:
    records = np.array([(1, 0.5), (2, 1.5)], [("n", ">i4"), ("x", "f4")])
    np.save(tmp_path / "t.npy", records)
    frame = whole(read(tmp_path / "t.npy"))
    assert frame.dtypes.astype(str).to_dict() == {"n": "int32", "x": "float32"}
    assert frame["n"].tolist() == [1, 2]
    np.save(tmp_path / "t.npy", np.zeros(2, [("n", "i4"), ("x", "f4", 3)]))
    with pytest.raises(ValueError, match=r"in each field, .* got 'x' of shape \(2, 3\)"):
        read(tmp_path / "t.npy")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "must have one two-dimensional array"),
        ({"a": np.ones(())}, "must have one two-dimensional array"),
        ({"a": np.ones((2, 2)), "b": np.ones((2, 2))}, r"or one named data, got a \(2, 2\), b"),
        ({"a": np.ones(2), "b": np.ones(3)}, r"the columns of .* have different lengths: \[2, 3\]"),
        (
            {"data": np.ones((2, 2)), "columns": np.array(["a"])},
            "has 2 columns, but their names in columns have shape",
        ),
        ({"data": np.ones((2, 2)), "columns": np.array(["a", "a"])}, "are named 'a'"),
        ({"data": np.ones((2, 0))}, r"must have shape \(rows, columns\), got \(2, 0\)"),
        ({"data": np.ones((0, 2))}, "has no rows"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "t.npz")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((3, 1)) + 1j, "column 'x0' is complex"),
    ],
)
def test_arrays_of_no_numbers(tmp_path: Path, array: Any, message: str) -> None:
    np.save(tmp_path / "t.npy", array)
    with pytest.raises(ValueError, match=message):
        survey(read(tmp_path / "t.npy"))


def test_parquet_is_read_by_row_groups(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(10) / 4, "b": np.arange(10)})
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=4)
    source = Parquet(tmp_path / "t.parquet")
    assert source.blocks == (4, 4, 2)
    pd.testing.assert_frame_equal(whole(source), frame)
    pd.testing.assert_frame_equal(source.whole().block(0), frame)
    assert isinstance(read(tmp_path / "t.parquet"), Frame)


def test_large_parquet_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[read.__module__], "STREAMED_BYTES", 10)
    frame = pd.DataFrame({"a": np.arange(10.0)})
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=4)
    assert isinstance(read(tmp_path / "t.parquet"), Parquet)


def test_empty_row_groups_are_passed_over(tmp_path: Path) -> None:
    table = pa.table({"a": [1.0, 2.5, 3.0]})
    with parquet.ParquetWriter(tmp_path / "t.parquet", table.schema) as writer:
        for part in (table.slice(0, 0), table.slice(0, 2), table.slice(0, 0), table.slice(2)):
            writer.write_table(part)
    source = Parquet(tmp_path / "t.parquet")
    assert source.blocks == (2, 1)
    assert whole(source)["a"].tolist() == [1.0, 2.5, 3.0]


def test_named_index_of_parquet_is_a_column(tmp_path: Path) -> None:
    TABLE.set_index("b").to_parquet(tmp_path / "named.parquet", row_group_size=2)
    TABLE.set_index(pd.Index([7, 3, 9])).to_parquet(tmp_path / "number.parquet", row_group_size=2)
    for source in (Parquet(tmp_path / "named.parquet"), read(tmp_path / "named.parquet")):
        assert source.names == ("b", "a")
        pd.testing.assert_frame_equal(whole(source)[["a", "b"]], TABLE)
    for source in (Parquet(tmp_path / "number.parquet"), read(tmp_path / "number.parquet")):
        assert source.names == ("a", "b")
        pd.testing.assert_frame_equal(whole(source), TABLE)


def test_parquet_that_is_cut_off_while_it_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(4000, 2)), columns=["a", "b"])
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=1000)
    source = Parquet(tmp_path / "t.parquet")
    first = source.block(0)
    with (tmp_path / "t.parquet").open("r+b") as file:
        file.truncate(100)
    pd.testing.assert_frame_equal(first, frame[:1000])
    with pytest.raises(
        ValueError, match=r"t\.parquet is damaged, or was changed while it was read"
    ):
        source.block(3)


def test_parquet_columns_of_the_same_name(tmp_path: Path) -> None:
    parquet.write_table(pa.table([[1.0], [2.0]], names=["a", "a"]), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="two columns of the table are named 'a'"):
        read(tmp_path / "t.parquet")


def test_names_of_frames() -> None:
    assert Frame(pd.DataFrame(np.ones((2, 2)))).names == (0, 1)
    assert Frame(pd.DataFrame(np.ones((2, 2)), columns=[1, "1"])).names == (1, "1")
    with pytest.raises(ValueError, match="two columns of the table are named 1"):
        Frame(pd.DataFrame(np.ones((2, 2)), columns=[1, 1]))
    with pytest.raises(ValueError, match="the table has no columns"):
        Frame(pd.DataFrame(index=[0, 1]))
