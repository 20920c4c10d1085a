"""Checkpoints: the same bits come back, and a kill while one is written leaves the one before."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from invflow.training import Checkpoints


def _model(value: float) -> nn.Linear:
    model = nn.Linear(100, 100)
    nn.init.constant_(model.weight, value)
    return model


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _while_it_is_written() -> None:
    save = safetensors.torch.save_file

    def half(tensors: Any, path: Path, metadata: Any) -> None:
        save(tensors, path, metadata)
        os.truncate(path, path.stat().st_size // 2)
        _die()

    safetensors.torch.save_file = half  # type: ignore[assignment]


def _before_it_is_renamed() -> None:
    Path.replace = _die  # type: ignore[assignment,method-assign]


def _before_old_ones_go() -> None:
    Path.unlink = _die  # type: ignore[method-assign]


def _write_and_die(directory: Path, prepare: Callable[[], None]) -> None:
    prepare()
    Checkpoints(directory).save(3, {"model": _model(3.0)}, {"progress": 3})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("moment", "newest"),
    [(_while_it_is_written, 2), (_before_it_is_renamed, 2), (_before_old_ones_go, 3)],
)
def test_a_kill_leaves_a_usable_checkpoint(
    tmp_path: Path, moment: Callable[[], None], newest: int
) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"model": _model(step)}, {"progress": step})
    # Forked, so that nothing is imported anew.
    process = multiprocessing.get_context("fork").Process(
        target=_write_and_die, args=(tmp_path, moment)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    model = _model(0.0)
    assert checkpoints.load({"model": model}) == (newest, {"progress": newest})
    assert torch.equal(model.weight, _model(newest).weight)
    checkpoints.save(4, {"model": _model(4.0)}, {})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"step-{newest:08d}.safetensors", "step-00000004.safetensors"]


def test_nested_states_come_back_to_the_same_bits(tmp_path: Path) -> None:
    extra = {
        "float": 0.1 + 0.2,
        "infinite": float("inf"),
        "nothing": None,
        "tensors": {"a.b": torch.randn(3, dtype=torch.float64), "empty": torch.zeros(0)},
        "list": [1, "two", [torch.tensor(True)]],
    }
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, {}, extra)
    found = checkpoints.load({})
    assert found is not None
    step, back = found
    tensors, others = back.pop("tensors"), extra.pop("tensors")
    assert step == 7
    assert all(torch.equal(tensors[k], v) for k, v in others.items())  # type: ignore[attr-defined]
    assert str(back) == str(extra)
