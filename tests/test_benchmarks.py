"""The benchmarks' own code still fits the library's: a step or two of each, at toy sizes."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Return what imports a script of the folder, for one test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield module
    for name in {path.stem for path in FOLDER.glob("*.py")} & (set(sys.modules) - before):
        del sys.modules[name]


def test_densities_are_trained_written_and_read(load, tmp_path: Path) -> None:
    density = load("density")
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    np.savez(tmp_path / "toy.npz", data=rows)
    data = density.Data.load(tmp_path / "toy.npz", "cpu")
    budget = density.Budget(1, (8, 8), batch=32, updates=4, rate=1e-3, evaluate_every=2)
    data = dataclasses.replace(data, budget=budget)
    ours = [name for name in density.MODELS if name.startswith("invflow")]
    results = [density.train(data, name, seed=0) for name in ours]
    for result in results:
        density.add(tmp_path / "results.csv", result)
    assert density.read(tmp_path / "results.csv") == results
    assert all(np.isfinite(result.test) for result in results)
    printed = density.table(results)
    assert all(name in printed for name in ours)


def test_a_teacher_is_taught_and_distilled(load) -> None:
    distillation = load("distillation")
    size = distillation.Size(8, 1, 16, teacher_steps=2, student_steps=2, count=64)
    torch.manual_seed(0)
    start, end = distillation.measure(3, size)
    assert len(start) == len(end) == len(distillation.HEADER)
    assert [start[:2], end[:2]] == [["3", "start"], ["3", "end"]]


def test_directions_round_trip(load) -> None:
    directions = load("directions")
    effort = directions.Effort(warm_up=0.0, seconds=0.0, fewest=3, most=3, slowest=1.0)
    cell = directions.measure("invflow", directions.Size(4, 8, 16), effort, noise=0.1)
    assert cell.round_trip < 1e-5


def test_ways_to_invert_are_compared(load) -> None:
    gpu, directions = load("gpu"), load("directions")
    effort = directions.Effort(warm_up=0.0, seconds=0.0, fewest=3, most=3, slowest=1.0)
    cpu, size = torch.device("cpu"), directions.Size(4, 8, 16)
    cells = [
        gpu.measure(way, size, torch.float32, cpu, effort) for way in ("cached", "fixed_point")
    ]
    assert all(cell.error < 1e-5 for cell in cells)
    assert all(len(cell.row()) == len(gpu.HEADER) for cell in cells)
    (line,) = gpu.fastest(cells)
    assert line.startswith("D = 4, float32: ")


def test_without_a_card_there_is_nothing_to_compare(load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="needs a CUDA device"):
        load("gpu").main([])
