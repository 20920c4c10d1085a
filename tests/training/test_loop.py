"""Training: side by side, resumable to the same numbers, best state kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from invflow.training import Settings, fit, launch, metrics

SETTINGS = Settings(
    steps=30,
    batch_size=8,
    learning_rate=0.05,
    weight_decay=0.0,
    clip=10.0,
    seed=3,
    evaluate_every=10,
)
ROWS = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


def _models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"a": nn.Linear(4, 1), "b": nn.Linear(4, 1)}


def _loss(model: nn.Module, rows: Tensor, noise: torch.Generator) -> Tensor:
    target = ROWS[rows].sum(1, keepdim=True) + 0.1 * torch.randn(len(rows), 1, generator=noise)
    return (model(ROWS[rows]) - target).square().mean()


@torch.no_grad()
def _evaluate(model: nn.Module) -> dict[str, float]:
    return {"loss": float((model(ROWS) - ROWS.sum(1, keepdim=True)).square().mean())}


def _silent(step: int, line: str) -> None:
    pass


class KilledError(Exception):
    pass


def _fit(
    models: dict[str, nn.Module],
    directory: Path,
    settings: Settings = SETTINGS,
    kill_at: int | None = None,
) -> None:
    def report(step: int, line: str) -> None:
        if step == kill_at:
            raise KilledError

    fit(launch(), models, len(ROWS), _loss, _evaluate, settings, directory, report)


def _weights(models: dict[str, nn.Module]) -> list[Tensor]:
    return [p.detach() for model in models.values() for p in model.parameters()]


def test_training_fits(tmp_path: Path) -> None:
    models = _models()
    before = _evaluate(models["a"])["loss"]
    _fit(models, tmp_path, replace(SETTINGS, steps=300, evaluate_every=100))
    assert _evaluate(models["a"])["loss"] < 0.01 * before
    assert (tmp_path / "metrics.csv").is_file()
    assert list(tmp_path.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("kill_at", [4, 10, 27])
def test_a_killed_run_goes_on_to_the_same_numbers(tmp_path: Path, kill_at: int) -> None:
    whole, killed = _models(), _models()
    _fit(whole, tmp_path / "whole")
    with pytest.raises(KilledError):
        _fit(killed, tmp_path / "killed", kill_at=kill_at)
    resumed = _models()
    _fit(resumed, tmp_path / "killed")
    assert all(map(torch.equal, _weights(whole), _weights(resumed)))
    curves = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in metrics.read(tmp_path / name)]
        for name in ("whole", "killed")
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 2 * 2 * 3


def test_models_do_not_disturb_each_other(tmp_path: Path) -> None:
    both, alone = _models(), _models()
    _fit(both, tmp_path / "both")
    _fit({"b": alone["b"]}, tmp_path / "alone")
    assert torch.equal(both["b"].weight, alone["b"].weight)


def test_the_best_state_is_kept(tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0])
    seen: list[Tensor] = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append(model.weight.detach().clone())
        return {"loss": next(values)}

    models = {"a": _models()["a"]}
    fit(launch(), models, len(ROWS), _loss, evaluate, SETTINGS, tmp_path, _silent)
    assert torch.equal(models["a"].weight, seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    def loss(model: nn.Module, rows: Tensor, noise: torch.Generator) -> Tensor:
        return model(ROWS[rows]).sum() * float("nan")

    with pytest.raises(FloatingPointError, match="the loss of a at step 1 is nan"):
        fit(launch(), _models(), len(ROWS), loss, _evaluate, SETTINGS, tmp_path, _silent)


def test_an_evaluation_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    def evaluate(model: nn.Module) -> dict[str, float]:
        return {"loss": float("nan")}

    with pytest.raises(FloatingPointError, match="the validation loss of a at step 10 is nan"):
        fit(launch(), _models(), len(ROWS), _loss, evaluate, SETTINGS, tmp_path, _silent)


@pytest.mark.parametrize("accelerator", ["warp-drive", "mps", ""])
def test_accelerators_that_are_not_there(accelerator: str) -> None:
    with pytest.raises(ValueError, match=f"accelerator '{accelerator}' cannot be used: "):
        launch(accelerator)


def test_damaged_checkpoints(tmp_path: Path) -> None:
    _fit(_models(), tmp_path)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        _fit(_models(), tmp_path)
    newest.write_bytes(whole)
    with pytest.raises(ValueError, match="does not fit this run"):
        _fit({"other": nn.Linear(4, 1)}, tmp_path)


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    _fit(_models(), tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000020.safetensors", "step-00000030.safetensors"]
