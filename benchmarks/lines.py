"""Results as the lines of a CSV file, which grows while they are measured."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, str]]:
    """Return the lines so far."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def done(path: Path, labels: Sequence[str]) -> set[tuple[str, ...]]:
    """Return the labels of the lines so far."""
    return {tuple(line[label] for label in labels) for line in read(path)}


def add(path: Path, fields: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> None:
    """Append lines to those so far, numbers to four digits, and print them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        for line in lines:
            rounded = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in line.items()}
            writer.writerow(rounded)
            print(*rounded.values(), flush=True)
