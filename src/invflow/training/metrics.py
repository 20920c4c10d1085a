"""Measurements, step by step: `metrics.csv` and TensorBoard events."""

from __future__ import annotations

import csv
import io
import math
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from invflow import _files, _readable

Row = dict[str, Any]
FILE = "metrics.csv"
#: The columns of every row, before those of the measurements.
KEYS = {"step", "model", "split"}


class Metrics:
    """Rows of measurements: a step, a model, the part of the data, and numbers by name.

    Args:
        directory: of the run; gets `metrics.csv` and TensorBoard events.
        done: number of steps that a resumed run has done; later rows of the file are dropped.

    Raises:
        ImportError: if TensorBoard is not installed.
        ValueError: if the file is damaged or of another kind.
    """

    def __init__(self, directory: Path, done: int = 0) -> None:
        require()
        from torch.utils.tensorboard import SummaryWriter

        self._path = directory / FILE
        self.rows = [row for row in read(directory) if row["step"] <= done]
        self._events = SummaryWriter(str(directory), purge_step=done + 1 if done else None)

    def add(self, step: int, model: str, split: str, **values: float) -> None:
        """Record one model's measurements on one part of the data."""
        self.rows.append({"step": step, "model": model, "split": split, **values})
        for name, value in values.items():
            # TensorBoard warns about others.
            if math.isfinite(value):
                self._events.add_scalar(f"{name}/{split}/{model}", value, step)

    def write(self) -> None:
        """Write the rows to disk."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        _files.write_text(self._path, text.getvalue())
        self._events.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.close()


def require() -> None:
    """Check that metrics can be recorded, before a run is on disk.

    Raises:
        ImportError: if TensorBoard is not installed.
    """
    try:
        import_module("torch.utils.tensorboard")
    except ImportError as error:
        raise ImportError('training needs TensorBoard: pip install "invflow[training]"') from error


def read(directory: Path) -> list[Row]:
    """Return the rows of a run's `metrics.csv`, numbers as numbers; none without a file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is damaged or of another kind.
    """
    path = directory / FILE
    try:
        content = _readable.read(path)
    except FileNotFoundError:
        return []
    try:
        lines = csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True)
        return [_row(line) for line in lines]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} does not hold the metrics of a run: {error}") from error


def _row(line: dict[str | Any, str | Any]) -> Row:
    """Return a row of measurements.

    Raises:
        ValueError: if it is something else.
    """
    if None in line or None in line.values() or not line.keys() >= KEYS:
        raise ValueError(
            "every line must have a step, a model, a split, and as many values as names"
        )
    step = _number(line["step"])
    if not isinstance(step, int) or step < 0:
        raise ValueError(f"step must be an integer of at least 0, got {line['step']!r}")
    measured = {name: _number(text) for name, text in line.items() if text and name not in KEYS}
    return {"step": step, "model": line["model"], "split": line["split"], **measured}


def _number(text: str) -> float:
    number = float(text)
    return int(number) if text.isdecimal() and number.is_integer() else number
