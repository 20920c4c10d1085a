"""Simulations: parameters, and the data that a simulator gave for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from invflow.vi.targets.vectors import tensor

#: Rows or names listed in an error.
LISTED = 5


class Simulations:
    """Parameters and simulated data, row by row.

    Args:
        parameters: shape (simulations, numbers): a tensor, an array or nested lists.
        data: shape (simulations, *shape): (summaries,) for vectors, (steps, channels) for series,
            (points, channels) for sets, (channels, height, width) for images.
        summaries: names of the numbers of vectors; by default "x[0]", "x[1]", ...
        names: of the parameters; without them, they are in the order of the prior.

    Attributes:
        parameters: shape (simulations, numbers), float64.
        data: shape (simulations, *shape), float64.
        summaries: names of the numbers of vectors; none for other data.
        names: of the parameters; none if they are not known.

    Raises:
        TypeError: if these are not real numbers.
        ValueError: if shapes do not fit, or there are fewer than two simulations.

    Example:
        >>> simulations = Simulations([[0.1], [0.2]], [[1.0, 2.0], [3.0, 4.0]])
        >>> len(simulations), simulations.summaries
        (2, ('x[0]', 'x[1]'))
    """

    def __init__(
        self,
        parameters: Any,
        data: Any,
        summaries: Sequence[str] = (),
        names: Sequence[str] = (),
    ) -> None:
        parameters, data = _rows("parameters", parameters), _rows("data", data)
        if parameters.ndim != 2 or data.ndim < 2 or len(parameters) != len(data):
            raise ValueError(
                "parameters must have shape (simulations, numbers) and data (simulations, *shape), "
                f"got {tuple(parameters.shape)} and {tuple(data.shape)}"
            )
        if len(data) < 2:
            raise ValueError(f"there must be at least two simulations, got {len(data)}")
        if not data.numel():
            raise ValueError(f"data must hold at least one number, got shape {tuple(data.shape)}")
        labels = tuple(summaries)
        if data.ndim == 2:
            labels = labels or tuple(f"x[{i}]" for i in range(data.shape[1]))
            if len(labels) != data.shape[1]:
                raise ValueError(f"summaries must be {data.shape[1]} names, got {len(labels)}")
        self.parameters, self.data, self.summaries = parameters, data, labels
        self.names = tuple(names)

    @classmethod
    def from_table(cls, table: Any, parameters: Sequence[str]) -> Self:
        """Return the simulations in a data frame of any library, a row each.

        Args:
            table: of numbers.
            parameters: names of the columns that are parameters, in the order of the prior; all
                others are summaries. `prior.names` has them.

        Raises:
            ImportError: if pandas or narwhals is not installed.
            TypeError: if it is not a table, or a column does not hold numbers.
            ValueError: if a column is missing, or there is no summary.

        Example:
            >>> import pandas as pd
            >>> table = pd.DataFrame({"x": [1.0, 2.0], "rate": [0.1, 0.2]})
            >>> Simulations.from_table(table, ["rate"]).summaries
            ('x',)
        """
        columns = numbers(table)
        if missing := [name for name in parameters if name not in columns]:
            raise ValueError(
                f"the simulations do not have the column {missing[0]!r}, a parameter; they have "
                f"{listed(list(columns))}"
            )
        summaries = [name for name in columns if name not in parameters]
        if not summaries:
            raise ValueError("the simulations have only parameters: add columns with the data")
        theta = torch.stack([columns[name] for name in parameters], -1)
        x = torch.stack([columns[name] for name in summaries], -1)
        return cls(theta, x, summaries, parameters)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the data of one simulation."""
        return tuple(self.data.shape[1:])

    @property
    def is_finite(self) -> Tensor:
        """Which simulations have neither NaN nor infinity, shape (simulations,)."""
        parts = (self.parameters.flatten(1), self.data.flatten(1))
        return parts[0].isfinite().all(-1) & parts[1].isfinite().all(-1)

    def finite(self) -> Simulations:
        """Return the simulations without those that have NaN or infinity."""
        return self[self.is_finite]

    def without(self, *names: str) -> Simulations:
        """Return the simulations without some summaries.

        Raises:
            ValueError: if there is no such summary.
        """
        if unknown := [name for name in names if name not in self.summaries]:
            raise ValueError(f"there is no summary {unknown[0]!r}; got {listed(self.summaries)}")
        kept = [i for i, name in enumerate(self.summaries) if name not in names]
        labels = [self.summaries[i] for i in kept]
        return Simulations(self.parameters, self.data[:, kept], labels, self.names)

    def __getitem__(self, rows: Any) -> Simulations:
        """Return some of the simulations, by a mask, indices or a slice."""
        return Simulations(self.parameters[rows], self.data[rows], self.summaries, self.names)

    def __add__(self, other: Simulations) -> Simulations:
        """Return these simulations, and then others of the same kind."""
        mine, others = ((each.shape, each.summaries, each.names) for each in (self, other))
        if mine != others:
            raise ValueError("simulations of different data cannot be joined")
        return Simulations(
            torch.cat([self.parameters, other.parameters]),
            torch.cat([self.data, other.data]),
            self.summaries,
            self.names,
        )

    def observed(self, value: Any) -> Tensor:
        """Return observed data in the form of these, shape (observations, *shape).

        See `observed`.
        """
        return observed(value, self.shape, self.summaries)


def _rows(name: str, value: Any) -> Tensor:
    """Return a tensor with two dimensions or more; a single one is that of the simulations."""
    found = tensor(name, value).detach().cpu().double()
    return found[:, None] if found.ndim == 1 else found


def observed(value: Any, shape: tuple[int, ...], summaries: Sequence[str]) -> Tensor:
    """Return observed data, shape (observations, *shape), float64.

    Args:
        value: one observation, (*shape), or several: a number, a tensor, an array or lists; a
            mapping from the names of summaries to numbers; or a data frame with these columns.
        shape: of the data of one simulation.
        summaries: their names, if they are vectors.

    Raises:
        TypeError: if it does not hold real numbers.
        ValueError: if the shape or the columns differ from those of the simulations, or a number is
            not finite.
    """
    if isinstance(value, Mapping) or hasattr(value, "columns"):
        columns = numbers(value)
        if set(columns) != set(summaries):
            missing = [name for name in summaries if name not in columns]
            more = [name for name in columns if name not in summaries]
            what = f"lacks {listed(missing)}" if missing else f"also has {listed(more)}"
            raise ValueError(f"observed must have the summaries of the simulations, but {what}")
        lengths = {len(each) for each in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"observed must have columns of one length, got {sorted(lengths)}")
        value = torch.stack([columns[name] for name in summaries], -1)
    found = tensor("observed", value).double()
    if found.ndim == 0:  # simulators may return numbers, too
        found = found[None]
    if tuple(found.shape) == shape:
        found = found[None]
    if tuple(found.shape[1:]) != shape or not len(found):
        raise ValueError(
            f"observed must have shape {shape}, like the data of a simulation, got "
            f"{tuple(found.shape)}"
        )
    if not bool(found.isfinite().all()):
        finite = found.isfinite().all(0).flatten().tolist()
        where = [name for name, each in zip(summaries, finite, strict=False) if not each]
        what = f" in {listed(where)}" if where else ""
        raise ValueError(f"observed must be finite, got NaN or infinity{what}")
    return found


def numbers(table: Any) -> dict[str, Tensor]:
    """Return the columns of a table, or a mapping, as numbers by name.

    Raises:
        TypeError: if it is not a table, or a column does not hold real numbers.
    """
    if isinstance(table, Mapping):
        return {str(name): tensor(str(name), each).reshape(-1) for name, each in table.items()}
    from invflow.density.table.containers import taken

    found = taken(table)
    if found is None:
        raise TypeError(f"a table must be a data frame, got {type(table).__name__}")
    frame = found[0]
    for name in frame:
        if frame[name].dtype.kind not in "biuf":
            raise TypeError(f"column {name!r} must hold numbers, got {frame[name].dtype}")
    return {
        str(name): torch.from_numpy(frame[name].to_numpy("float64", na_value=float("nan")).copy())
        for name in frame
    }


def listed(names: Sequence[Any]) -> str:
    """Return the first few names, and the number of others."""
    shown = ", ".join(map(str, names[:LISTED]))
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"


def check_rows(name: str, values: Tensor, rows: int) -> None:
    """See that there are values, (*batch, rows, numbers), for each of some rows.

    Raises:
        ValueError: if there are not.
    """
    if values.ndim < 2 or values.shape[-2] != rows:
        raise ValueError(
            f"{name} must have shape (*batch, {rows}, numbers), a row for each that it is given, "
            f"got {tuple(values.shape)}"
        )


def one(x: Tensor) -> Tensor:
    """Return observed data, (observations, *shape), if there is one observation.

    Raises:
        ValueError: if there are several.
    """
    if len(x) != 1:
        raise ValueError(
            f"observed must be one observation, got {len(x)}: for several of the same parameters, "
            'simulate sets of them and fit with an embedding such as "mean", or fit with "nle"'
        )
    return x
