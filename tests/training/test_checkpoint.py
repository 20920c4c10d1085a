"""Checkpoints: the same bits come back, and a kill while one is written leaves the one before."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from invflow.training import Checkpoints, metrics


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
    # Forked, so that nothing is imported again.
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


def _saved(directory: Path, **extra: Any) -> Path:
    Checkpoints(directory).save(7, {"model": _model(1.0)}, extra)
    return directory / "step-00000007.safetensors"


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = _saved(tmp_path, progress=3)
    whole = path.read_bytes()
    for place in range(0, len(whole), 997):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=f"^{path} (is damaged|is not a valid|does not fit)"):
            Checkpoints(tmp_path).load({"model": _model(0.0)})


def _rewritten(path: Path, **changes: Any) -> None:
    """Write a checkpoint as earlier versions did, without its sha256, and with other strings."""
    with safetensors.safe_open(path, "pt") as file:
        strings = {**file.metadata(), **changes}
    del strings["sha256"]
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, strings)


def test_checkpoints_of_earlier_versions(tmp_path: Path) -> None:
    _rewritten(_saved(tmp_path, progress=3))
    model = _model(0.0)
    assert Checkpoints(tmp_path).load({"model": model}) == (7, {"progress": 3})
    assert torch.equal(model.weight, _model(1.0).weight)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "8"},
        {"step": "seven"},
        {"step": "-7"},
        {"structure": "{}"},
        {"structure": "[" * 100_000},
        {"structure": '{"items": [["extra", {"items": []}]]}'},
        {"structure": '{"items": [["states", {"items": []}], ["extra", {"value": 3}]]}'},
        {"structure": '{"items": [["states", {"tensor": "none"}], ["extra", {"items": []}]]}'},
    ],
    ids=str,
)
def test_checkpoints_that_do_not_fit(changes: dict[str, str], tmp_path: Path) -> None:
    path = _saved(tmp_path)
    _rewritten(path, **changes)
    with pytest.raises(ValueError, match=f"^{path} does not fit this run: .") as caught:
        Checkpoints(tmp_path).load({"model": _model(0.0)})
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    path = _saved(tmp_path)
    with pytest.raises(ValueError, match=f"^{path} does not fit this run: .*size mismatch"):
        Checkpoints(tmp_path).load({"model": nn.Linear(3, 3)})
    with pytest.raises(ValueError, match=f"^{path} does not fit this run: 'other'"):
        Checkpoints(tmp_path).load({"other": nn.Linear(3, 3)})


def test_a_directory_that_has_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _saved(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "second")
    (tmp_path / "link").symlink_to("second")
    monkeypatch.chdir(tmp_path)
    for directory in (Path("second"), tmp_path / "link"):
        assert Checkpoints(directory).load({"model": _model(0.0)}) == (7, {})


def test_a_full_disk_leaves_the_checkpoints_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _saved(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match=f"^{tmp_path}/step-00000008.safetensors.*No space left"):
        Checkpoints(tmp_path).save(8, {"model": _model(2.0)}, {})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "step,model,split\n1,a",
        "step,model,split\n1,a,train,9\n",
        "step,model\n1,a\n",
        "step,model,split\nx,a,train\n",
        "step,model,split\n-1,a,train\n",
        "step,model,split\n1.5,a,train\n",
        f"step,model,split\n{'9' * 5000},a,train\n",
        "step,model,split,loss\n1,a,train,much\n",
        'step,model,split\n1,"a,train\n',
        "step,model,split\n1,a,tr\0ain\n1,a",
        "step,model,split\n" + "1" * 200_000 + ",a,train\n",
        "\ufeffstep,model,split\n1,a,train\n",
        "é".encode("latin-1"),
    ],
    ids=lambda text: repr(text)[:40],
)
def test_metrics_that_are_damaged(text: str | bytes, tmp_path: Path) -> None:
    (tmp_path / metrics.FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"^{tmp_path}/metrics.csv does not hold the metrics of a"):
        metrics.read(tmp_path)


def test_metrics_come_back(tmp_path: Path) -> None:
    text = "step,model,split,loss,skipped\n10,a,train,-1.5,0\n10,a,validation,nan,\n"
    (tmp_path / metrics.FILE).write_text(text)
    first, second = metrics.read(tmp_path)
    assert first == {"step": 10, "model": "a", "split": "train", "loss": -1.5, "skipped": 0}
    assert isinstance(first["skipped"], int)
    assert math.isnan(second.pop("loss"))
    assert second == {"step": 10, "model": "a", "split": "validation"}
    (tmp_path / metrics.FILE).unlink()
    assert metrics.read(tmp_path) == []


def test_those_of_another_training_are_refused(tmp_path: Path) -> None:
    Checkpoints(tmp_path, of="one").save(3, {"model": _model(3.0)}, {})
    with pytest.raises(ValueError, match="checkpoints of another training, with other data"):
        Checkpoints(tmp_path, of="another").load({"model": _model(0.0)})
    for of in ("one", ""):
        assert Checkpoints(tmp_path, of=of).load({"model": _model(0.0)}) == (3, {})
