"""The dialect of a text file: separator, decimal mark, encoding, header, spelling and so on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

#: Separators of fields that are looked for, and what they are called.
SEPARATORS: Mapping[str, str] = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
GROUP = "Reading"


@dataclass(frozen=True)
class Spelling:
    """How the values of a column are written.

    Attributes:
        before: what stands before numbers, such as $,
        outside: and whether it stands before their signs too.
        after: what stands after numbers, such as %.
        least: the fewest decimals of numbers.
        most: the most decimals of numbers; None for columns without any.
        digits: the most significant digits of numbers.
        grouped: whether there are marks between thousands.
        plus: whether positive numbers have a sign.
        brackets: whether negative numbers are in brackets.
        exponent: of one, such as E+00, where numbers have exponents.
        scientific: whether all numbers have exponents.
        quoted: whether all values are in quotation marks.
        gap: the marker of a missing value, with its quotation marks.
    """

    before: str = ""
    outside: bool = False
    after: str = ""
    least: int = 1
    most: int | None = None
    digits: int | None = None
    grouped: bool = False
    plus: bool = False
    brackets: bool = False
    exponent: str = ""
    scientific: bool = False
    quoted: bool = False
    gap: str = ""


@dataclass(frozen=True)
class Layout:
    """How the lines of a file are written.

    Attributes:
        end: of lines.
        top: the lines before the header, with their ends.
        before: what stands before the header, such as #.
        corner: whether the header has a name for the numbers of rows, if only an empty one.
        units: in the line after the header, by column.
        space: what follows a separator.
        quoted: whether the names of columns are in quotation marks.
        header_ends: separators at the end of the header,
        line_ends: and at the end of other lines.
        first: number of the first row, if rows are numbered.
    """

    end: str = "\n"
    top: tuple[str, ...] = ()
    before: str = ""
    corner: bool = True
    units: Mapping[str, str] = field(default_factory=dict[str, str])
    space: str = ""
    quoted: bool = False
    header_ends: int = 0
    line_ends: int = 0
    first: int = 1


def _setting(description: str, metavar: str | None = None, repeated: bool = False) -> Any:
    """Return a field with what the command line says of it."""
    known = {"description": description, "group": GROUP, "metavar": metavar}
    return field(default=None, metadata={**known, "shown": "detected", "repeated": repeated})


@dataclass(frozen=True)
class Dialect:
    """The format of a table in a text file. What is None is detected.

    Attributes:
        separator: between fields.
        decimal: mark before the decimals of a number, "." or ",".
        thousands: mark between groups of three digits, "" for none.
        encoding: name of the encoding, as Python has it.
        header: whether the first line has the names of the columns.
        skip: number of lines before the header.
        units: whether the line after the header has units, and is left out.
        index: name of a column that numbers the rows, and is left out; an unnamed first column is
            called "".
        dates: formats of dates and times as `strftime` has them, by column.
        codes: columns of digits that are text, such as 00123.
        text: columns that are text whatever they look like, since a run has learned them as text.
        spelling: of the values, by column.
        layout: of the lines.
    """

    separator: str | None = _setting('Between fields: ",", ";", "|" or tab.', "MARK")
    decimal: str | None = _setting('Before the decimals of a number: "." or ",".', "MARK")
    thousands: str | None = _setting("Between groups of three digits.", "MARK")
    encoding: str | None = _setting("Encoding of the text, such as utf-8 or cp1252.", "NAME")
    header: bool | None = _setting("Whether the first line has the names of columns.")
    skip: int | None = _setting("Number of lines before the header.", "N")
    units: bool | None = _setting("Whether the line after the header has units.")
    index: str | None = _setting(
        "Column that numbers the rows, and is left out; an unnamed first one is by itself.",
        "COLUMN",
    )
    dates: dict[str, str] | None = _setting(  # noqa: RUF009, a field
        "Format of dates or times, such as %d/%m/%Y; repeat it for more.", "COLUMN=FORMAT"
    )
    codes: tuple[str, ...] | None = _setting(
        "Column of digits that are text, such as 00123; repeat it for more.", "COLUMN", True
    )
    text: tuple[str, ...] | None = None
    spelling: dict[str, Spelling] = field(default_factory=dict[str, Spelling])
    layout: Layout = Layout()

    def __post_init__(self) -> None:
        if self.separator in ("tab", "\\t"):
            object.__setattr__(self, "separator", "\t")
        if self.separator is not None and len(self.separator) != 1:
            raise ValueError(f"separator must be one character, got {self.separator!r}")
        if self.skip is not None and self.skip < 0:
            raise ValueError(f"skip must be zero or more, got {self.skip}")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f'decimal must be "." or ",", got {self.decimal!r}')
        if self.encoding is not None:
            _check_encoding(self.encoding)
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"decimal must differ from thousands, got {self.decimal!r} for both")


def _check_encoding(name: str) -> None:
    try:
        "".encode(name)
    except LookupError as error:
        raise ValueError(f"encoding must be one that Python has, got {name!r}") from error


def said(dialect: Dialect) -> str:
    """Return a summary of what is unusual about a file, empty for a plain one.

    Example:
        >>> said(Dialect(separator=";", decimal=",", encoding="cp1252", header=False))
        'semicolons, decimal commas, cp1252, no header'
    """
    words = [] if dialect.separator in (None, ",") else [_named(dialect.separator)]
    words += ["decimal commas"] if dialect.decimal == "," else []
    words += [f"{dialect.thousands!r} between thousands"] if dialect.thousands else []
    words += [] if dialect.encoding in (None, "utf-8") else [dialect.encoding]
    words += ["no header"] if dialect.header is False else []
    words += [f"{dialect.skip} line(s) before the header left out"] if dialect.skip else []
    words += ["a line of units left out"] if dialect.units else []
    if dialect.index is not None:
        words += [f"index column {dialect.index!r} left out".replace(" ''", "")]
    words += [f"{name} as {form}" for name, form in (dialect.dates or {}).items()]
    words += [f"{', '.join(dialect.codes)} as codes"] if dialect.codes else []
    for name, each in dialect.spelling.items():
        sign = (each.before + each.after).strip()
        words += [f"{name} without {sign}"] if sign else []
    return ", ".join(words)


def _named(separator: str) -> str:
    return SEPARATORS.get(separator, f"{separator!r} between fields")


def for_others(dialect: Dialect, asked: Dialect, usual: str) -> Dialect:
    """Return the dialect by which further files are read like this one.

    A usual separator and encoding are detected in each file, unless they were asked for.

    Args:
        dialect: complete.
        asked: what the user said of it.
        usual: the separator of plain files.

    Example:
        >>> found = Dialect(separator=",", decimal=".", encoding="utf-8")
        >>> for_others(found, Dialect(encoding="utf-8"), ",") == replace(found, separator=None)
        True
    """
    plain = {"separator": usual, "encoding": "utf-8"}
    anew = [name for name in plain if getattr(asked, name) is None]
    return replace(dialect, **{n: None for n in anew if getattr(dialect, n) == plain[n]})
