"""Problems of a table that need decisions, with a proposal for each."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from invflow.density.table.dialect import Dialect
from invflow.density.table.files import markers, numerals, times
from invflow.density.table.grids import LARGEST_INTEGER
from invflow.density.table.labels import Label
from invflow.density.table.looks import MOST_LEVELS, hardly_repeat
from invflow.density.table.objects import KNOWN, held, is_text
from invflow.density.table.source import Source

#: The fewest rows in which something is looked for that many tables have by chance.
ENOUGH = 20
#: A table in several blocks is judged by about this many of its rows.
JUDGED_ROWS = 2**20
#: A column of text is one of numbers with markers if this fraction of its values are numbers.
MOSTLY = 0.8
#: What ids and free text are.
HARDLY_REPEATS = "text whose values hardly repeat"
#: What lists, structures and bytes are.
NESTED = "values that are not numbers, text, dates or times"
#: Numbers that have no density.
INFINITE = ("inf", "-inf")
#: The most columns that are named for one reason.
SHOWN = 6


@dataclass(frozen=True)
class Proposal:
    """A problem, and what to do about it.

    Attributes:
        what: the problem.
        drop: columns to leave out.
        na: markers to treat as missing values.
        marginalise: whether to marginalise over missing values.
        choices: the possible options, where none can be proposed.
        needed: whether the table does not have a density without a decision.
    """

    what: str
    drop: tuple[str, ...] = ()
    na: tuple[str, ...] = ()
    marginalise: bool = False
    choices: str = ""
    needed: bool = True

    @property
    def option(self) -> str:
        """The options for the command line."""
        words = [f"--drop {shlex.quote(','.join(self.drop))}"] if self.drop else []
        words += [f"--na {shlex.quote(each)}" for each in self.na]
        words += ["--missing marginalise"] if self.marginalise else []
        return self.choices or " ".join(words)

    def __str__(self) -> str:
        return f"{self.option}: {self.what}"


def propose(
    source: Source,
    decided: Collection[Label] = (),
    missing: str = "refuse",
    dialect: Dialect | None = None,
) -> list[Proposal]:
    """Return the problems of a table.

    Args:
        source: the table.
        decided: columns whose kind or role is given; leaving them out is not proposed.
        missing: "refuse" missing values, or "marginalise" over them.
        dialect: of the text file that the table comes from.

    Example:
        >>> from invflow.density.table import Frame
        >>> frame = pd.DataFrame({"a": [0.5, 1.5, 0.7], "b": 1.0, "c": [0.1, None, 0.2]})
        >>> for each in propose(Frame(frame)):
        ...     print(each)
        --drop b: the same value in all rows
        --missing marginalise: missing values in c (1 of 3)
    """
    frame = _rows(source)
    columns = dict(
        zip(source.names, (frame.iloc[:, i] for i in range(frame.shape[1])), strict=True)
    )
    found, cleaned = _markers(columns, dialect or Dialect())
    proposed = {
        name: why
        for name, series in cleaned.items()
        if name not in decided and (why := _useless(series))
    }
    kept = {name: series for name, series in cleaned.items() if name not in proposed}
    copies = _copies({name: each for name, each in kept.items() if name not in decided})
    kept = {name: series for name, series in kept.items() if name not in copies}
    unclear = [
        each
        for name, series in kept.items()
        if name not in decided and (each := _unclear(name, series))
    ]
    by_reason: dict[tuple[str, bool], list[Label]] = defaultdict(list)
    for name, why in proposed.items():
        by_reason[why].append(name)
    for (what, needed), names in by_reason.items():
        if what == HARDLY_REPEATS:
            what += f", such as {_listed([repr(_first(cleaned[name])) for name in names])}"
        found.append(Proposal(what, drop=tuple(map(str, names)), needed=needed))
    found += [
        Proposal(f"a copy of {other}", drop=(str(name),), needed=False)
        for name, other in copies.items()
    ]
    gaps = {name: int(series.isna().sum()) for name, series in kept.items()}
    gaps = {f"{name} ({count} of {len(frame)})": count for name, count in gaps.items() if count}
    if gaps and missing == "refuse":
        found.append(Proposal(f"missing values in {_listed(list(gaps))}", marginalise=True))
    return found + unclear


def _rows(source: Source) -> pd.DataFrame:
    """Return the rows of a table; of a large one in blocks, some of them."""
    count = len(source.blocks)
    if count == 1:
        return source.block(0)
    judged = max(1, min(count, count * JUDGED_ROWS // sum(source.blocks)))
    chosen = np.linspace(0, count - 1, judged).round().astype(int)
    return pd.concat([source.block(int(number)) for number in chosen], ignore_index=True)


def _markers(
    columns: Mapping[Label, Any], dialect: Dialect
) -> tuple[list[Proposal], dict[Label, Any]]:
    """Return the markers in columns, and these without them."""
    decimal, thousands = dialect.decimal or ".", dialect.thousands or ""
    by_marker: dict[str, dict[Label, int]] = defaultdict(dict)
    cleaned: dict[Label, Any] = {}
    blocking: set[str] = set()
    for name, series in columns.items():
        texts = list(_marks(series, decimal))
        cleaned[name] = markers.without(series, texts)
        for text in texts:
            by_marker[text][name] = _count(series, text)
        blocking.update(text for text in texts if text in INFINITE)
        if texts and is_text(series):
            numbers = numerals.parsed(cleaned[name], decimal, thousands)
            if numbers is not None:
                cleaned[name] = numbers
                blocking.update(texts)
    found: list[Proposal] = []
    for text, counts in by_marker.items():
        shown = _listed([f"{name} ({count})" for name, count in counts.items()])
        others = [name for name in columns if name not in counts and _count(columns[name], text)]
        na = [f"{name}={text}" for name in counts] if others else [text]
        what = "infinite values" if text in INFINITE else f"{text!r} looks like a missing value,"
        found.append(Proposal(f"{what} in {shown}", na=tuple(na), needed=text in blocking))
    return found, cleaned


def _count(series: Any, text: str) -> int:
    """Return how often a marker is in a column."""
    return int(markers.without(series, [text]).isna().sum() - series.isna().sum())


def _marks(series: Any, decimal: str) -> Iterator[str]:
    """Give the markers in a column: usual words, and numbers far outside that repeat."""
    if is_text(series):
        counts = series.value_counts()
        words = [text for text in counts.index if markers.is_marker(text)]
        rest = counts.drop(words)
        if not any(map(_has_letters, rest.index)):
            # Signs are the levels of some columns: "*" and "**".
            words = [text for text in words if _has_letters(text)]
        yield from words
        others = [text for text in rest.index if not numerals.is_number(text, decimal)]
        numbers = len(rest) - len(others)
        if numbers >= ENOUGH and numbers > MOSTLY * len(rest):
            # A comma or an equals sign has a meaning in --na.
            yield from (text for text in others if not {",", "="} & set(text))
    elif _is_numeric(series):
        values = series.dropna().to_numpy(dtype=float)
        yield from (f"{value:g}" for value in np.unique(values[np.isinf(values)]))
        yield from markers.outlying(values[np.isfinite(values)])


def _has_letters(text: str) -> bool:
    """Whether a text has letters or digits."""
    return any(map(str.isalnum, text))


def _is_numeric(series: Any) -> bool:
    types = pd.api.types
    return types.is_numeric_dtype(series.dtype) and not types.is_bool_dtype(series.dtype)


def _useless(series: Any) -> tuple[str, bool] | None:
    """Return why a column should be left out, and whether there is no density with it."""
    there = series.dropna()
    if not len(there):
        return "no values", True
    if held(series) not in ("", *KNOWN):
        return NESTED, True
    different = there.nunique()
    if different == 1:
        return "the same value in all rows", False
    if is_text(series):
        if different > MOST_LEVELS or hardly_repeat(different, len(there)):
            return HARDLY_REPEATS, True
    elif pd.api.types.is_integer_dtype(series.dtype):
        if max(abs(int(there.min())), abs(int(there.max()))) >= LARGEST_INTEGER:
            return "whole numbers beyond 2**52, as ids have", True
        if len(there) == len(series) >= ENOUGH and bool((there.diff().iloc[1:] == 1).all()):
            return "counts the rows", False
    return None


def _first(series: Any) -> Any:
    return series.dropna().iloc[0]


def _copies(columns: Mapping[Label, Any]) -> dict[Label, Label]:
    """Return columns with the same values as an earlier one, and that one."""
    seen: dict[int, list[Label]] = defaultdict(list)
    found: dict[Label, Label] = {}
    for name, series in columns.items():
        codes = pd.factorize(series)[0]
        key = hash(codes.tobytes())
        for other in seen[key]:
            if series.dtype == columns[other].dtype and series.equals(columns[other]):
                found[name] = other
                break
        else:
            seen[key].append(name)
    return found


def _unclear(name: Label, series: Any) -> Proposal | None:
    """Return a problem that only the user can solve."""
    if not is_text(series):
        return None
    forms = times.formats(series)
    if len(forms) < 2:
        return None
    choices = " or ".join(f"--dates {shlex.quote(f'{name}={form}')}" for form in forms)
    return Proposal(f"{name} has dates whose day and month may be either", choices=choices)


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(map(str, names[:SHOWN]))
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
