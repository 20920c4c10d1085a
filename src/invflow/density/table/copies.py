"""Columns that are copies of continuous ones, up to units, such as Fahrenheit of Celsius."""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from invflow import _checks
from invflow.density.table.codes import values
from invflow.density.table.column import Column
from invflow.density.table.labels import Label, decode, encode
from invflow.density.table.numbers import AS_TRAINED, numbers, stored
from invflow.density.table.samples import Floats
from invflow.density.table.source import Source, pieces

#: A copy agrees with its original up to this many units of rounding of the largest value.
ROUNDING = 8
#: Digits of slopes and offsets, the fewest that are enough.
DIGITS = (5, 9)


@dataclass(frozen=True)
class Copy:
    """A column whose values are offset + slope * those of another, up to rounding.

    Attributes:
        name: label of the column.
        dtype: pandas dtype, in which values are returned.
        of: the original, a continuous column of the density.
        slope: the unit of the original, in that of the copy.
        offset: the value of the copy where the original is zero.
        size: sum of the largest magnitudes of copy, offset and product; rounding errors, such as
            those of subtracting a mean, are proportional to it.
    """

    name: Label
    dtype: str
    of: Label
    slope: float
    offset: float
    size: float = 0.0

    def __str__(self) -> str:
        line = f"{self.slope:.6g} times {self.of}"
        return line if not self.offset else f"{self.offset:.6g} + {line}"

    def values(self, originals: Floats) -> Any:
        """Return the values of the copy, in its dtype."""
        column = Column(self.name, "continuous", self.dtype)
        return values(self.offset + self.slope * originals, column)

    def originals(self, series: Any) -> Floats:
        """Return the values of the original that values of the copy belong to, NaN where missing.

        Raises:
            ValueError: if a value is not a number.
        """
        return (numbers(series, self.name, 0, AS_TRAINED) - self.offset) / self.slope

    def differs(self, series: Any, original: Any) -> Any:
        """Whether a value is not the copy of that of the original; not where one is missing.

        Args:
            series: values of the copy.
            original: those of the original.
        """
        own, found = _rounded_numbers(series, self.name), _rounded_numbers(original, self.of)
        return self.error(own[0], found[0], np.maximum(own[1], found[1])) > 0

    def error(self, own: Floats, original: Floats, unit: Floats) -> Floats:
        """Return how far values are from the copy's, zero up to rounding or where one is missing.

        Args:
            own: values of the copy.
            original: those of the original.
            unit: of rounding, relative to the size of the column.
        """
        product = self.slope * original
        size = np.abs(own) + np.abs(product) + abs(self.offset)
        off = np.nan_to_num(np.abs(own - product - self.offset))
        return np.where(off > ROUNDING * unit * np.fmax(size, self.size), off, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the copy for JSON."""
        return {**asdict(self), "name": encode(self.name), "of": encode(self.of)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Copy:
        """Return a copy from JSON.

        Raises:
            TypeError, ValueError: if it is not one.
        """
        fields: dict[str, Any] = {**content}
        fields.update({key: decode(content[key]) for key in ("name", "of")})
        copy = cls(**fields)
        numbers = [
            _checks.number(each, getattr(copy, each)) for each in ("slope", "offset", "size")
        ]
        if not all(map(math.isfinite, numbers)) or not copy.slope:
            raise ValueError(f"column {copy.name!r} must have a slope other than zero, and numbers")
        if not isinstance(copy.dtype, str):
            raise TypeError(f"dtype must be a string, got {copy.dtype!r}")
        return copy


def log_density(frames: Iterable[pd.DataFrame], copies: Sequence[Copy]) -> Floats:
    r"""Return the log density of copies given their originals, shape (rows,).

    A copy has all of its probability at one value, so it is zero where the copy agrees, and minus
    infinity where it does not. Where the original x is missing, its first observed copy
    $y = a + b x$ takes its place, and $-\log |b|$ is what the density of y has beside that of x.

    A warning says how many rows do not agree, and by how much.

    Args:
        frames: rows of the table.
        copies: in the table.

    Example:
        >>> table = pd.DataFrame({"m": [0.5, 0.5, None], "cm": [50.0, 51.0, 60.0]})
        >>> with warnings.catch_warnings(action="ignore"):
        ...     log_density([table], [Copy("cm", "float64", "m", 100.0, 0.0)]).round(3)
        array([ 0.   ,   -inf, -4.605])
    """
    found: list[Floats] = []
    rows, most = Counter[Copy](), defaultdict[Copy, float](float)
    for frame in frames:
        score = np.zeros(len(frame))
        originals = {copy.of: _rounded_numbers(frame[copy.of], copy.of) for copy in copies}
        for copy in copies:
            (own, unit), (original, known_to) = (
                _rounded_numbers(frame[copy.name], copy.name),
                originals[copy.of],
            )
            stands = np.isnan(original) & ~np.isnan(own)
            original = np.where(stands, (own - copy.offset) / copy.slope, original)
            unit = np.where(stands, unit, np.maximum(unit, known_to))
            originals[copy.of] = original, np.where(stands, unit, known_to)
            error = copy.error(own, original, unit)
            score[stands] -= math.log(abs(copy.slope))
            score[error > 0] = -np.inf
            rows[copy] += int((error > 0).sum())
            most[copy] = max(most[copy], float(error.max(initial=0.0)))
        found.append(score)
    for copy in +rows:
        warnings.warn(
            f"column {copy.name!r} is not {copy} in {rows[copy]} row(s), by at most "
            f"{most[copy]:.2g}: their density is zero; give all digits if numbers "
            "were rounded",
            UserWarning,
            stacklevel=2,
        )
    return np.concatenate(found)


def _rounded_numbers(series: Any, name: Label) -> tuple[Floats, Floats]:
    """Return the numbers of a column, and the unit of rounding of each."""
    values = numbers(series, name, 0, AS_TRAINED)
    return values, np.full(len(values), np.finfo(stored(series.dtype)).eps)


def find(source: Source, pairs: Sequence[tuple[Label, Label]]) -> list[Copy]:
    """Return the columns that are copies.

    Each is a copy of a column that is not a copy itself.

    Args:
        source: the table.
        pairs: original and copy, columns of numbers whose correlation is one up to rounding, in an
            order of the columns in which originals come first.

    Example:
        >>> from invflow.density.table import Frame
        >>> celsius = np.random.default_rng(0).normal(15, 8, 30)
        >>> table = pd.DataFrame({"celsius": celsius, "fahrenheit": 32 + 1.8 * celsius})
        >>> copy, = find(Frame(table), [("celsius", "fahrenheit")])
        >>> copy.slope, copy.offset
        (1.8, 32.0)
    """
    ends: dict[tuple[Label, Label], Floats] = {}
    dtypes: dict[Label, str] = {}
    for block in pieces(source) if pairs else ():
        for pair in pairs:
            both = np.column_stack([numbers(block[name], name) for name in pair])
            known = np.concatenate([ends.get(pair, both[:0]), both[~np.isnan(both).any(1)]])
            if len(known):
                ends[pair] = known[[known[:, 0].argmin(), known[:, 0].argmax()]]
            dtypes[pair[1]] = str(block[pair[1]].dtype)
    candidates = {
        pair: [
            Copy(pair[1], dtypes[pair[1]], pair[0], *line, size=_size(own, *line))
            for line in _lines(*own)
        ]
        for pair, own in ends.items()
    }
    for block in pieces(source) if pairs else ():
        for (of, name), each in candidates.items():
            each[:] = [copy for copy in each if not copy.differs(block[name], block[of]).any()]
    found: dict[Label, Copy] = {}
    for (of, name), each in candidates.items():
        if each and name not in found and of not in found:
            found[name] = each[0]
    return list(found.values())


def _lines(first: Floats, last: Floats) -> list[tuple[float, float]]:
    """Return slopes and offsets that fit two points up to rounding, the plainest first."""
    far = first if abs(first[0]) > abs(last[0]) else last
    ratio = float(far[1] / far[0])
    slope = float((last[1] - first[1]) / (last[0] - first[0]))
    lines = [(1.0, 0.0), *((_rounded(ratio, ratio, digits), 0.0) for digits in DIGITS)]
    lines.append((ratio, 0.0))
    for digits in DIGITS:
        plain = _rounded(slope, slope, digits)
        offset = float(first[1] - plain * first[0])
        lines.append((plain, _rounded(offset, max(abs(first[1]), abs(last[1])), digits)))
    lines.append((slope, float(first[1] - slope * first[0])))
    return [line for line in lines if line[0]]


def _size(ends: Floats, slope: float, offset: float) -> float:
    """Return the sum of the largest magnitudes of copy, offset and product."""
    original, copy = np.abs(ends).max(0)
    return float(copy + abs(slope) * original + abs(offset))


def _rounded(value: float, size: float, digits: int) -> float:
    """Return a number without the digits that are small beside a size."""
    return round(value, digits - math.ceil(math.log10(abs(size)))) if size else 0.0
