"""The training curve of a density."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from invflow.density.run import Run
from invflow.report.figures import Curve
from invflow.training import metrics

#: Label of the vertical axis.
HEIGHT = "nats per row"
#: Smallest range of the vertical axis below and above the best value, in nats, if values reach it.
SPAN = 5.0


def lines(run: Run) -> dict[str, Curve]:
    """Return the mean log density against the step.

    With missing values the training loss includes that of the imputer, so that only the validation
    rows are drawn.
    """
    rows = metrics.read(run.directory)
    found = {"validation rows": line(rows, "validation", lambda row: row["bound"])}
    if run.config.missing == "refuse":
        found["training rows"] = line(rows, "train", lambda row: -row["loss"])
    return found


def line(
    rows: Sequence[Mapping[str, Any]], split: str, value: Callable[[Mapping[str, Any]], float]
) -> Curve:
    """Return the values of one split of the data; those of training rows are dotted.

    Args:
        rows: from `invflow.training.metrics.read`.
        split: "validation" or "train".
        value: returns what to draw of a row.
    """
    mine = [row for row in rows if row["split"] == split]
    style = ":" if split == "train" else "-"
    return Curve([row["step"] for row in mine], (), list(map(value, mine)), like=0, style=style)


def view(lines: Mapping[str, Curve]) -> tuple[float, float]:
    """Return the range that matters, near the best: others may be far below, or overfit."""
    best, *others = sorted(lines["validation rows"].values, reverse=True)
    span = max([SPAN, *(6 * (best - value) for value in others[: 1 + len(others) // 4][-1:])])
    seen = [value for line in lines.values() for value in line.values]
    return max(min(seen), best - span) - 0.1, min(max(seen), best + span) + 0.2
