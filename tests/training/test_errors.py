"""Messages about metrics that no other test reaches, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from invflow.training import metrics

HEAD = "step,model,split,loss\n"
DAMAGED = {
    "a line that is too short": (
        HEAD + "1,a\n",
        "every line must have a step, a model, a split, and as many values as names",
    ),
    "a step below zero": (
        HEAD + "-1,a,train,0.5\n",
        "metrics.csv does not hold the metrics of a run: step must be an integer of at least 0, "
        "got '-1'",
    ),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_metrics_that_are_damaged(case: str, tmp_path: Path) -> None:
    text, message = DAMAGED[case]
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        metrics.read(tmp_path)
