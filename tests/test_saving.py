"""Models and tensors on disk: what is read stays as it was read."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from invflow import MAF, _saving
from invflow.density import FlowDensity
from invflow.training import Checkpoints


def _density(directory: Path) -> Callable[[], Any]:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    FlowDensity("gaussian", steps=2, random_state=0).fit(rows).save(directory)
    found = FlowDensity.load(directory)
    return lambda: (found.reference_.sum(), found.score(rows), found.sample(2, random_state=0))


def _flow(directory: Path) -> Callable[[], Any]:
    MAF(2, transforms=1, hidden_features=(4,)).save_pretrained(directory)
    found = MAF.from_pretrained(directory)
    return lambda: found().log_prob(torch.zeros(2))


def _checkpoint(directory: Path) -> Callable[[], Any]:
    model = nn.Linear(3, 3)
    checkpoints = Checkpoints(directory)
    checkpoints.save(1, {"model": model}, {"random": torch.ones(5)})
    loaded = checkpoints.load({"model": model})
    assert loaded is not None
    return lambda: (model.weight.sum(), loaded[1]["random"].sum())


def _tensors(directory: Path) -> Callable[[], Any]:
    _saving.write_tensors(directory / "a.safetensors", {"a": torch.ones(5), "b": torch.ones(0, 2)})
    found, _ = _saving.read_tensors(directory / "a.safetensors")
    return lambda: {name: tensor.sum() for name, tensor in found.items()}


def _use(load: Callable[[Path], Callable[[], Any]], directory: Path, change: str) -> None:
    torch.set_num_threads(1)
    used = load(directory)
    before = repr(used())
    for path in directory.rglob("*.safetensors"):
        with path.open("r+b") as file:
            file.truncate(0)
            if change == "replace":
                file.write(b"\xff" * 10_000)
    assert repr(used()) == before


# A process of its own, as what is tested for ends it with SIGBUS. Forked, so that nothing is
# imported anew.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("change", ["truncate", "replace"])
@pytest.mark.parametrize("load", [_density, _flow, _checkpoint, _tensors])
def test_what_is_loaded_outlives_the_file(
    tmp_path: Path, load: Callable[[Path], Callable[[], Any]], change: str
) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=_use, args=(load, tmp_path, change)
    )
    process.start()
    process.join()
    assert process.exitcode == 0


def test_tensors_and_the_strings_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tensors = {
        "double": torch.rand(3, 2, dtype=torch.float64),
        "flag": torch.tensor([True, False, True]),
        "half": torch.rand(5, dtype=torch.bfloat16),
        "nothing": torch.empty(0, 3),
        "scalar": torch.tensor(7),
    }
    for metadata in ({}, {"step": "3", "words": "grün"}):
        _saving.write_tensors(path, tensors, metadata)
        found, beside = _saving.read_tensors(path)
        assert beside == metadata
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)
    content = path.read_bytes()
    for broken in (b"", content[:4], content[:40], content[:-1], b"\xff" * 64):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="is not a valid safetensors file"):
            _saving.read_tensors(path)
