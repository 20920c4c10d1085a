"""Columns that are copies of continuous ones, up to units, such as Fahrenheit of Celsius."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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

#: A copy agrees with its original up to this many units of rounding.
ROUNDING = 8
#: Digits of slopes and offsets, where these are enough.
DIGITS = 9


@dataclass(frozen=True)
class Copy:
    """A column whose values are offset + slope * those of another, up to rounding.

    Attributes:
        name: label of the column.
        dtype: pandas dtype, in which values are returned.
        of: the original, a continuous column of the density.
        slope: the unit of the original, in that of the copy.
        offset: the value of the copy where the original is zero.
    """

    name: Label
    dtype: str
    of: Label
    slope: float
    offset: float

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
        own = numbers(series, self.name, 0, AS_TRAINED)
        found = numbers(original, self.of, 0, AS_TRAINED)
        product = self.slope * found
        size = np.abs(own) + np.abs(product) + abs(self.offset)
        unit = max(float(np.finfo(stored(each.dtype)).eps) for each in (series, original))
        return np.abs(own - product - self.offset) > ROUNDING * unit * size

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
        numbers = [_checks.number(each, getattr(copy, each)) for each in ("slope", "offset")]
        if not all(map(math.isfinite, numbers)) or not copy.slope:
            raise ValueError(f"column {copy.name!r} must have a slope other than zero, and numbers")
        if not isinstance(copy.dtype, str):
            raise TypeError(f"dtype must be a string, got {copy.dtype!r}")
        return copy


def log_density(frame: pd.DataFrame, copies: Sequence[Copy]) -> Floats:
    r"""Return the log density of copies given their originals, shape (rows,).

    A copy has all of its probability at one value, so it is zero where the copy agrees, and minus
    infinity where it does not. Where the original x is missing, its first observed copy
    $y = a + b x$ takes its place, and $-\log |b|$ is what the density of y has beside that of x.

    Args:
        frame: rows of the table.
        copies: in the table.

    Example:
        >>> table = pd.DataFrame({"m": [0.5, 0.5, None], "cm": [50.0, 51.0, 60.0]})
        >>> log_density(table, [Copy("cm", "float64", "m", 100.0, 0.0)]).round(3)
        array([ 0.   ,   -inf, -4.605])
    """
    found = np.zeros(len(frame))
    originals: dict[Label, Any] = {}
    for copy in copies:
        own, original = frame[copy.name], originals.get(copy.of, frame[copy.of])
        stands = (original.isna() & own.notna()).to_numpy()
        known = pd.Series(copy.originals(own), own.index, stored(original.dtype))
        original = originals[copy.of] = original.mask(stands, known)
        found[stands] -= math.log(abs(copy.slope))
        found[copy.differs(own, original)] = -np.inf
    return found


def find(source: Source, pairs: Sequence[tuple[Label, Label]]) -> list[Copy]:
    """Return the columns that are copies.

    Each is a copy of a column that is not a copy itself.

    Args:
        source: the table.
        pairs: original and copy, columns of numbers whose correlation is one up to rounding; those
            with the same copy in the order of their originals in the table.

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
        pair: [Copy(pair[1], dtypes[pair[1]], pair[0], *line) for line in _lines(*own)]
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
    slope = float((last[1] - first[1]) / (last[0] - first[0]))
    plain = _rounded(slope, slope)
    offset = float(first[1] - plain * first[0])
    return [
        (1.0, 0.0),
        (plain, _rounded(offset, max(abs(first[1]), abs(last[1])))),
        (slope, float(first[1] - slope * first[0])),
    ]


def _rounded(value: float, size: float) -> float:
    """Return a number without the digits that are small beside a size."""
    return round(value, DIGITS - math.ceil(math.log10(abs(size))))
