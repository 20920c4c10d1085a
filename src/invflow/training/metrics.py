"""What was measured, step by step: `metrics.csv` and TensorBoard events."""

from __future__ import annotations

import csv
import io
import math
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from invflow import _files

Row = dict[str, Any]
FILE = "metrics.csv"


class Metrics:
    """Rows of measurements: a step, a model, the part of the data, and numbers by name.

    Args:
        directory: of the run; gets `metrics.csv` and TensorBoard events.
        done: steps that a continued run has behind it; later rows of the file are dropped.

    Raises:
        ImportError: TensorBoard is not installed.
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
            # TensorBoard warns of others.
            if math.isfinite(value):
                self._events.add_scalar(f"{name}/{split}/{model}", value, step)

    def write(self) -> None:
        """Bring what is on disk up to date."""
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
    """See that metrics can be recorded, before a run is on disk.

    Raises:
        ImportError: TensorBoard is not installed.
    """
    try:
        import_module("torch.utils.tensorboard")
    except ImportError as error:
        raise ImportError('training needs TensorBoard: pip install "invflow[training]"') from error


def read(directory: Path) -> list[Row]:
    """Return the rows of a run's `metrics.csv`, numbers as numbers; none if there is no file.

    Raises:
        ValueError: the file is of another kind.
    """
    path = directory / FILE
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    if not all({"step", "model", "split"} <= line.keys() and None not in line for line in lines):
        raise ValueError(f"{path} does not hold the metrics of a run")
    return [{k: _number(v) for k, v in line.items() if v} for line in lines]


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
