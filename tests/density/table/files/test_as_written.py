"""Tables come back as they were written: read, and written again, files are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invflow.density.table import Dialect, Frame, read, write
from invflow.density.table.dialect import Layout, Spelling
from invflow.density.table.files.spelling import numbers, rounded


def again(path: Path, text: str, na: tuple[str, ...] = (), **dialect: object) -> str:
    """Read and write a text, and return what was written."""
    path.write_bytes(text.encode("utf-8"))
    source = read(path, Dialect(**dialect), na)  # pyright: ignore[reportArgumentType]
    assert isinstance(source, Frame)
    write(source.block(0), path, source.dialect)
    return path.read_bytes().decode("utf-8")


#: Columns of values that a reader would notice if they came back in another format.
COLUMNS = {
    "thousands": ["1,234", "12", "1,234,567"],
    "thousands and cents": ["1,234.50", "12.25", "0.05"],
    "currency": ["$5", "$12", "$7"],
    "debt": ["-$5", "$12", "-$7"],
    "debt, sign inside": ["$-5", "$12", "$7"],
    "euros": ["5.20 €", "12.00 €", "7.35 €"],
    "brackets": ["(5.20)", "12.00", "(7.35)"],
    "brackets and currency": ["($5.20)", "$1,200.00", "($7.35)"],
    "percent": ["5%", "12.5%", "7%"],
    "percent and space": ["5 %", "12 %", "7 %"],
    "unit": ["5 kg", "12 kg", "7.5 kg"],
    "plus": ["+5", "-3", "+12"],
    "plus and zero": ["+0.5", "-0.3", "0.0"],
    "exponents": ["1.50e+03", "-2.25e-04", "0.00e+00"],
    "exponents of three digits": ["1.5E+003", "2.5E-004", "3.0E+000"],
    "some exponents": ["0.5", "1e-05", "3e-07"],
    "small": ["0.00001", "0.5", "0.00025"],
    "large": ["123456789012.5", "100000000000000.0", "0.5"],
    "whole among decimals": ["14.5", "27", "3.25"],
    "cents": ["1.50", "2.25", "3.00"],
    "one decimal": ["22.0", "35.5", "1.0"],
    "zeros": ["0123", "0045", "1234"],
    "truth": ["True", "False", "True"],
    "truth in capitals": ["TRUE", "FALSE", "TRUE"],
    "yes": ["yes", "no", "yes"],
    "unpadded day first": ["1/2/2020", "13/2/2020", "3/12/2020"],
    "unpadded month first": ["1/2/2020", "2/13/2020", "12/3/2020"],
    "unpadded time": ["1.2.2020 8:05", "13.2.2020 12:30", "3.12.2020 0:00"],
    "milliseconds": [f"2020-01-0{day} 10:00:00.12{day}" for day in (1, 2, 3)],
    "microseconds": [f"2020-01-0{day}T10:00:00.12345{day}" for day in (1, 2, 3)],
    "offset": [f"2020-01-0{day}T10:00:00+01:00" for day in (1, 2, 3)],
    "plain offset": [f"2020-01-0{day}T10:00:00-0530" for day in (1, 2, 3)],
    "universal time": [f"2020-01-0{day}T10:00:00.{day}50Z" for day in (1, 2, 3)],
    "weekday": ["Wed 01 Jan 2020", "Sat 01 Feb 2020", "Mon 03 Feb 2020"],
    "long date": ["January 1, 2020", "February 14, 2020", "March 3, 2021"],
    "month in capitals": ["01-JAN-2020", "14-FEB-2020", "03-MAR-2021"],
    "two digits of the year": ["01-Jan-20", "14-Feb-20", "03-Mar-21"],
    "month": ["2020-01", "2020-02", "2021-12"],
    "time": ["8:05", "10:30", "23:59"],
    "time with fraction": ["08:05:00.10", "10:30:00.25", "23:59:59.00"],
    "time am and pm": ["8:05 am", "10:30 pm", "12:00 pm"],
    "compact date": ["20200101T101500", "20200214T093000", "20210303T000000"],
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("quoted", [False, True], ids=["bare", "quoted"])
def test_columns_come_back_as_they_were_written(tmp_path: Path, name: str, quoted: bool) -> None:
    values = COLUMNS[name]
    quoted = quoted or any("," in value for value in values)
    cells = [f'"{value}"' if quoted else value for value in values]
    rows = ["key,value", *(f"{i}.5,{cell}" for i, cell in enumerate(cells)), "9.5,"]
    text = "\n".join(rows) + "\n"
    assert again(tmp_path / "t.csv", text) == text


@pytest.mark.parametrize("name", ["thousands", "brackets", "unpadded time", "exponents", "plus"])
def test_they_are_not_text(tmp_path: Path, name: str) -> None:
    rows = "\n".join(f'"{value}";1.5' for value in COLUMNS[name])
    (tmp_path / "t.csv").write_text(f"a;b\n{rows}\n")
    frame = read(tmp_path / "t.csv").block(0)
    assert frame["a"].dtype.kind in "ifM"


FILES = {
    "line ends of Windows": "a,b\r\n1.5,x\r\n2.5,y\r\n",
    "quoted names": '"a","b"\n1.5,x\n2.5,y\n',
    "everything quoted": '"a","b"\n"1.5","x"\n"2.5","y"\n',
    "text quoted": '"a","b"\n1.5,"x"\n2.5,"y"\n',
    "an index in quotes": '"","a"\n"1",1.5\n"2",2.5\n"3",0.5\n',
    "an index without a name in the header": '"a"\n"1",1.5\n"2",2.5\n"3",0.5\n',
    "an index from zero": ",a\n0,1.5\n1,2.5\n2,0.5\n",
    "separators at the ends": "a;b;;\n1,5;x;;\n2,5;y;;\n",
    "separators at the ends of rows": "a;b\n1,5;x;\n2,5;y;\n",
    "spaces behind separators": "a, b\n1.5, x\n2.5, y\n",
    "titles": "Made in May\na;b\n1,5;x\n2,5;y\n",
    "comments": "# made in May\n\n# by me\na,b\n1.5,x\n2.5,y\n",
    "a commented header": "# in May\n# a,b\n1,2\n3,5\n",
    "units": "t,v\ns,m/s\n1.5,2.5\n2.5,3.0\n0.5,3.5\n",
    "no header": "1.5,x\n2.5,y\n1.25,y\n",
    "one column": 'a\n1.5\n""\n2.5\n',
    "text in need of quotes": 'a,b\n1.5,"x,y"\n2.5,"say ""z"""\n',
}


@pytest.mark.parametrize("name", FILES)
def test_files_come_back_as_they_were_written(tmp_path: Path, name: str) -> None:
    assert again(tmp_path / "t.csv", FILES[name]) == FILES[name]


@pytest.mark.parametrize("gap", ["", "?", "NA", '"NA"', '""', "-999"])
def test_missing_values_come_back_as_they_were_written(tmp_path: Path, gap: str) -> None:
    quoted = '"' if gap.startswith('"') else ""
    text = f"a,b\n1.5,{quoted}x{quoted}\n{gap},{gap}\n2.5,{quoted}y{quoted}\n"
    assert again(tmp_path / "t.csv", text, na=("?", "NA", "-999")) == text


@pytest.mark.parametrize(("decimal", "gap"), [(",", "-200,0"), (".", "-200.00"), (".", "-2e2")])
def test_markers_with_decimals_come_back(tmp_path: Path, decimal: str, gap: str) -> None:
    text = f"a;b\n1{decimal}5;3\n{gap};-200\n{gap};4\n2{decimal}5;6\n"
    assert again(tmp_path / "t.csv", text, na=("-200",)) == text


def test_written_numbers_are_exact(tmp_path: Path) -> None:
    """However few decimals the spelling has, only draws are rounded."""
    values = np.array([1 / 3, -1e-7, 12345.678901, 2.0**70])
    exponents = Spelling(exponent="E+00", scientific=True)
    for spelling in (Spelling(least=2, most=2, digits=4), exponents):
        texts = numbers(pd.Series(values), spelling, ".", "")
        assert [float(text or "nan") for text in texts] == values.tolist()
    drawn = rounded(pd.DataFrame({"a": values}), {"a": Spelling(most=2, digits=6)})
    assert drawn["a"].tolist() == [0.33, 0.0, 12345.7, 2.0**70]


def test_a_layout_of_its_own(tmp_path: Path) -> None:
    layout = Layout(end="\r\n", first=7)
    write(pd.DataFrame({"a": [0.5, 1.5]}), tmp_path / "t.csv", Dialect(index="n", layout=layout))
    assert (tmp_path / "t.csv").read_bytes() == b"n,a\r\n7,0.5\r\n8,1.5\r\n"
