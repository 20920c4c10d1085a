"""Text files as they are: every dialect is detected, and what cannot be detected is said."""

from __future__ import annotations

import io
import random
from datetime import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invflow.density.table import read, write
from invflow.density.table.dialect import Dialect, said
from invflow.density.table.files import times
from invflow.density.table.source import Frame

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"]
PLACES = st.sampled_from(["Köln", "Århus", "Graz", "São Paulo, Osasco"])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text") / "t.csv"


def table(path: Path, text: str | bytes, dialect: Dialect | None = None) -> Frame:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    source = read(path, dialect)
    assert isinstance(source, Frame)
    return source


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(4, 30))
    column = st.lists(st.integers(-9999, 99999), min_size=rows, max_size=rows)
    cents = np.array(draw(column)) / 100
    cents[0] = 0.25  # at least one number has decimals
    frame = pd.DataFrame({"cents": cents, "größe": draw(column)})
    frame["place"] = draw(st.lists(PLACES, min_size=rows, max_size=rows))
    if draw(st.booleans()):
        frame.loc[1:2, "cents"] = np.nan
    return frame


@settings(max_examples=150, deadline=None)
@given(
    frame=tables(),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    decimal=st.sampled_from([".", ","]),
    encoding=st.sampled_from(ENCODINGS),
    header=st.booleans(),
    index=st.booleans(),
)
def test_dialects_are_detected(
    path: Path,
    frame: pd.DataFrame,
    separator: str,
    decimal: str,
    encoding: str,
    header: bool,
    index: bool,
) -> None:
    index = index and header
    content = io.BytesIO()
    frame.to_csv(
        content, sep=separator, decimal=decimal, encoding=encoding, header=header, index=index
    )
    source = table(path, content.getvalue())
    known = source.dialect
    assert known is not None
    assert (known.separator, known.decimal, known.header) == (separator, decimal, header)
    assert known.index == ("" if index else None)
    found = source.block(0)
    if not header:
        frame = frame.set_axis(["x0", "x1", "x2"], axis=1)
    assert found.index.tolist() == list(range(len(frame)))
    pd.testing.assert_frame_equal(found.reset_index(drop=True), frame, check_dtype=False)


@settings(max_examples=50, deadline=None)
@given(frame=tables(), separator=st.sampled_from([",", ";", "\t"]), index=st.booleans())
def test_what_is_written_is_read_again(
    path: Path, frame: pd.DataFrame, separator: str, index: bool
) -> None:
    frame["day"] = pd.date_range("2024-02-27", periods=len(frame))
    dialect = Dialect(
        separator,
        "," if separator == ";" else ".",
        encoding="cp1252",
        index="" if index else None,
        dates={"day": "%d.%m.%Y"},
    )
    write(frame, path, dialect)
    source = read(path)
    assert isinstance(source, Frame)
    again = source.block(0).reset_index(drop=True)
    pd.testing.assert_frame_equal(again, frame, check_dtype=False)
    assert source.dialect is not None
    found = source.dialect
    assert (found.index, found.encoding, found.dates) == (
        dialect.index,
        "cp1252" if not frame["place"].str.isascii().all() else found.encoding,
        {"day": "%d.%m.%Y"},
    )
    copy = path.with_name("again.csv")
    write(source.block(0), copy, source.dialect)
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("a,b\n1, 2.5\n3 , 4\n", {"a": [1, 3], "b": [2.5, 4.0]}, ""),
        ("a,b,\n1,u,\n2,v,\n", {"a": [1, 2], "b": ["u", "v"]}, ""),
        ("a,b,,\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}, ""),
        ("1,2\n3,4\n", {"x0": [1, 3], "x1": [2, 4]}, "no header"),
        (",a\n1,5\n2,7\n", {"a": [5, 7]}, "index column left out"),
        ("a,b\nr1,1,2\nr2,3,4\n", {"a": [1, 3], "b": [2, 4]}, "index column left out"),
        (",a\n5,1\n2,2\n", {"column 1": [5, 2], "a": [1, 2]}, ""),
        ("a,\n1,7\n2,8\n", {"a": [1, 2], "column 2": [7, 8]}, ""),
        ("a,2019,2020\nu,1,2\nv,3,4\n", {"a": ["u", "v"], "2019": [1, 3], "2020": [2, 4]}, ""),
        (
            "# made by hand\n\n# in May\na,b\n1,2\n3,5\n",
            {"a": [1, 3], "b": [2, 5]},
            "3 line(s) before the header left out",
        ),
        (
            "Measurements\na;b;c\n1;2;3\n4;5;7\n",
            {"a": [1, 4], "b": [2, 5], "c": [3, 7]},
            "semicolons, 1 line(s) before the header left out",
        ),
        (
            "t,v\ns,m/s\n1,2.5\n2,3.5\n",
            {"t": [1, 2], "v": [2.5, 3.5]},
            "a line of units left out",
        ),
        (
            "# in May\n# a,b\n1,2\n3,5\n",
            {"a": [1, 3], "b": [2, 5]},
            "1 line(s) before the header left out",
        ),
        ("#,b\n1,2\n3,5\n", {"#": [1, 3], "b": [2, 5]}, ""),
        (
            'a,b\n"$1,234.50",5 %\n$2.25,12.5 %\n',
            {"a": [1234.5, 2.25], "b": [5.0, 12.5]},
            "',' between thousands, a without $, b without %",
        ),
        ("a,b\n$5,1\n€5,2\n", {"a": ["$5", "€5"], "b": [1, 2]}, ""),
        (
            "sep=;\na;b;c\n1;2;x\n4;5;y\n",
            {"a": [1, 4], "b": [2, 5], "c": ["x", "y"]},
            "semicolons, 1 line(s) before the header left out",
        ),
        ("a,b\n007,1\n123,2\n", {"a": ["007", "123"], "b": [1, 2]}, "a as codes"),
        (
            'a,b\n1,"1,234"\n2.5,"12,345,678"\n',
            {"a": [1.0, 2.5], "b": [1234, 12345678]},
            "',' between thousands",
        ),
        (
            "a;b\n1.234,5;2\n0,25;3\n",
            {"a": [1234.5, 0.25], "b": [2, 3]},
            "semicolons, decimal commas, '.' between thousands",
        ),
        ("a\n1 234\n12\n", {"a": [1234, 12]}, "' ' between thousands"),
        ("a,b\nTrue,true\nFalse,no\n", {"a": [True, False], "b": ["true", "no"]}, ""),
        ("a,b\n2,  \n3,x\n", {"a": [2, 3], "b": [None, "x"]}, ""),
    ],
)
def test_oddities(path: Path, text: str, columns: dict[str, Any], words: str) -> None:
    source = table(path, text)
    found = source.block(0)
    assert list(found.columns) == list(columns)
    for name, values in columns.items():
        assert [None if pd.isna(value) else value for value in found[name]] == values
    assert source.dialect is not None
    assert said(source.dialect) == words


def test_what_is_asked_takes_precedence(path: Path) -> None:
    text = "a;b\n1,234;007\n2,345;008\n"
    assert table(path, text, Dialect(decimal=",")).block(0)["a"].tolist() == [1.234, 2.345]
    assert table(path, text, Dialect(thousands=",")).block(0)["a"].tolist() == [1234, 2345]
    plain = table(path, text, Dialect(decimal=",", codes=(), header=False))
    assert plain.block(0)["x1"].tolist() == ["b", "007", "008"]
    assert table(path, text, Dialect(decimal=",", codes=())).block(0)["b"].tolist() == [7, 8]
    whole = table(path, text, Dialect(separator="|", header=False, skip=1))
    assert whole.block(0)["x0"].tolist() == ["1,234;007", "2,345;008"]
    dated = table(path, "d,i\n01/02/2024,4\n03/04/2024,9\n", Dialect(dates={"d": "%d/%m/%Y"}))
    assert dated.block(0)["d"].dt.month.tolist() == [2, 4]
    assert list(table(path, "id,a\n4,1\n9,2\n", Dialect(index="id")).block(0)) == ["a"]
    assert list(table(path, "a,b\n1,m\n2,n\n3,o\n", Dialect(units=True)).block(0)["a"]) == [2, 3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"separator": ";;"}, "separator must be one character, got ';;'"),
        ({"decimal": "/"}, 'decimal must be "." or ",", got \'/\''),
        (
            {"decimal": ",", "thousands": ","},
            "decimal must differ from thousands, got ','",
        ),
        ({"skip": -1}, "skip must be zero or more, got -1"),
        ({"encoding": "klingon"}, "encoding must be one that Python has, got 'klingon'"),
    ],
)
def test_a_dialect_that_does_not_exist(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dialect(**settings)


def test_dates_of_another_format(path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"column 'd' has '2024-01-31', which is not like %d/%m/%Y"
    ):
        table(path, "d\n2024-01-31\n", Dialect(dates={"d": "%d/%m/%Y"}))


@pytest.mark.parametrize(
    ("values", "form", "first"),
    [
        (["2024-02-29", "2024-03-01"], "%Y-%m-%d", "2024-02-29"),
        (["2024-02-29T10:00:00", "2024-03-01T11:30:00"], "%Y-%m-%dT%H:%M:%S", "2024-02-29 10:00"),
        (
            ["2024-02-29T10:00:00Z", "2024-03-01T11:30:00Z"],
            "%Y-%m-%dT%H:%M:%SZ",
            "2024-02-29 10:00",
        ),
        (["29/02/2024", "01/03/2024"], "%d/%m/%Y", "2024-02-29"),
        (["02/29/2024", "03/01/2024"], "%m/%d/%Y", "2024-02-29"),
        (["29.02.2024 10:00", "01.03.2024 11:30"], "%d.%m.%Y %H:%M", "2024-02-29 10:00"),
        (["29-Feb-2024", "01-Mar-2024"], "%d-%b-%Y", "2024-02-29"),
        (["29.02.24", "01.03.24"], "%d.%m.%y", "2024-02-29"),
        (["02/29/24 23:05", "03/01/24 00:00"], "%m/%d/%y %H:%M", "2024-02-29 23:05"),
        (
            ["02/29/2024 02:30:00 PM", "03/01/2024 12:00:00 AM"],
            "%m/%d/%Y %I:%M:%S %p",
            "2024-02-29 14:30",
        ),
        (["29-02-2024 02:30 PM", "01-03-2024 11:00 AM"], "%d-%m-%Y %I:%M %p", "2024-02-29 14:30"),
    ],
)
def test_dates(path: Path, values: list[str], form: str, first: str) -> None:
    source = table(path, "when,a\n" + "".join(f"{value},{i}\n" for i, value in enumerate(values)))
    assert source.dialect is not None
    assert source.dialect.dates == {"when": form}
    assert source.block(0)["when"].iloc[0] == pd.Timestamp(first)
    write(source.block(0), path, source.dialect)
    assert path.read_text().splitlines()[1:] == [f"{value},{i}" for i, value in enumerate(values)]


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n$5.5,3%,1\n$-2,25%,2\n,,3\n",
        "a,b,c\n$5.50,3.0%,1.25\n$-2.25,25.0%,2.00\n,,3.50\n",
        "a;b\n5,50;1\n-2,25;2\n;3\n",
    ],
)
def test_numbers_are_written_as_they_were(path: Path, text: str) -> None:
    source = table(path, text)
    assert source.block(0)["a"].iloc[0] == 5.5
    write(source.block(0), path, source.dialect)
    assert path.read_text() == text


def test_times_of_day(path: Path) -> None:
    text = "t,a\n18.00.00,1\n07.30.05,2\n"
    source = table(path, text)
    assert source.block(0)["t"].tolist() == [time(18), time(7, 30, 5)]
    write(source.block(0), path, source.dialect)
    assert path.read_text() == text


def test_dates_that_may_be_either_stay_text(path: Path) -> None:
    found = table(path, "d,a\n01/02/2024,1\n03/04/2024,2\n").block(0)
    assert found["d"].tolist() == ["01/02/2024", "03/04/2024"]


@pytest.mark.parametrize("end", ["Z", "", ".250000"])
def test_times_within_the_first_days_of_a_month(path: Path, end: str) -> None:
    stamps = [f"2004-03-0{day}T02:30:00{end}" for day in range(1, 6)]
    source = table(path, "t,a\n" + "".join(f"{stamp},1\n" for stamp in stamps))
    assert source.block(0)["t"].dt.day.tolist() == [1, 2, 3, 4, 5]


def test_zeros_at_the_front_far_below(path: Path) -> None:
    zips = [f"{zip:05}" for zip in range(90_000, 0, -50)]
    source = table(path, "zip,a\n" + "".join(f"{zip},{i}\n" for i, zip in enumerate(zips)))
    assert source.block(0)["zip"].tolist() == zips
    assert source.block(0)["a"].sum() == 1800 * 1799 / 2
    assert source.dialect is not None
    assert source.dialect.codes == ("zip",)


def test_digits_beyond_64_bits_are_text(path: Path) -> None:
    found = table(path, "id,a\n12345678901234567890,1\n12345678901234567891,2\n").block(0)
    assert found["id"].tolist() == ["12345678901234567890", "12345678901234567891"]


def test_known_text_stays_text(path: Path) -> None:
    text = "a,b,c\n1,True,2024-01-31\n2,False,2024-02-29\n"
    found = table(path, text, Dialect(text=("a", "b", "c"))).block(0)
    assert found.iloc[0].tolist() == ["1", "True", "2024-01-31"]


def test_names_of_rows_are_kept(path: Path) -> None:
    source = table(path, '"",a\nrow 7,1\nrow 5,2\n')
    assert source.block(0).index.tolist() == ["row 7", "row 5"]
    write(source.block(0), path, source.dialect)
    assert path.read_text() == ",a\nrow 7,1\nrow 5,2\n"


def test_a_line_of_quotes_and_newlines(path: Path) -> None:
    source = table(path, '"a\nb","c"\n"1","x\ny"\n2,"he said ""no"""\n')
    assert source.block(0).to_dict("list") == {"a\nb": [1, 2], "c": ["x\ny", 'he said "no"']}


@pytest.mark.parametrize(
    ("asked", "first"),
    [(Dialect(decimal="."), 1.1), (Dialect(thousands="."), 1100), (Dialect(decimal=","), 1100)],
)
def test_points_between_semicolons(path: Path, asked: Dialect, first: float) -> None:
    text = "a;b\n1.100;1.101\n2.345;7\n"
    with pytest.raises(ValueError, match=r"may have a decimal point.*--thousands"):
        table(path, text)
    assert table(path, text, asked).block(0)["a"].iloc[0] == first
    assert table(path, text + "0.5;3\n").block(0)["a"].tolist() == [1.1, 2.345, 0.5]
    assert table(path, text + "0,5;3\n").block(0)["a"].tolist() == [1100, 2345, 0.5]
    assert table(path, text.replace(";", ",")).block(0)["a"].tolist() == [1.1, 2.345]


def test_two_digits_of_a_year_may_be_unclear(path: Path) -> None:
    found = table(path, "d,a\n3/4/04,1\n5/6/04,2\n").block(0)["d"]
    assert times.formats(found) == ["%m/%d/%y", "%d/%m/%y"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><p>a,b\n1,2", "is HTML or XML, not a table"),
        (b'\n<?xml version="1.0"?>\n', "is HTML or XML, not a table"),
        (b'[{"a": 1, "b": 2},\n{"a": 1, "b": 3}]', "is JSON, not a table"),
        (b'{"a": [1, 2]}\n', "is JSON, not a table"),
        (b"\0", "is not utf-8 text: it has NUL bytes"),
        (b"\0\0\0", "is not utf-8 text: it has NUL bytes"),
        (b"\0a\0", "is not utf-8 text: it has NUL bytes"),
    ],
)
def test_other_files(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(path)


def test_garbage(tmp_path: Path) -> None:
    """Any bytes are a table, or one line that names the file."""
    source = random.Random(0)
    alphabets = [bytes(range(256)), b"a1,;\n\"\t|.'# \r", b"0123456789,.\n", b'"\n,']
    for number in range(200):
        alphabet = source.choice(alphabets)
        path = tmp_path / f"{number}.csv"
        path.write_bytes(bytes(source.choices(alphabet, k=source.choice([1, 5, 60, 400]))))
        line = ""
        try:
            assert sum(read(path).blocks)
        except ValueError as error:
            line = str(error)
        assert not line or str(path) in line
        assert "\n" not in line
