"""Messages about metrics that no other test reaches, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from invflow.training import metrics
from invflow.training.checkpoint import Checkpoints

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


def test_a_checkpoint_that_was_changed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"a": torch.nn.Linear(1, 1)}, {})
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    message = "is damaged; remove it to resume from the checkpoint before it"
    with pytest.raises(ValueError, match=message):
        checkpoints.load({"a": torch.nn.Linear(1, 1)})


def test_a_checkpoint_that_was_renamed(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"a": torch.nn.Linear(1, 1)}, {})
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / "step-00000002.safetensors")
    with pytest.raises(ValueError, match="does not fit this run: its step is 1"):
        checkpoints.load({"a": torch.nn.Linear(1, 1)})


@pytest.mark.parametrize("case", DAMAGED)
def test_metrics_that_are_damaged(case: str, tmp_path: Path) -> None:
    text, message = DAMAGED[case]
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        metrics.read(tmp_path)
