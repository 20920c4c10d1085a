"""Training: side by side, resumable to the same numbers, best state kept."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invflow.training import Settings, fit, launch, metrics
from invflow.training.learner import Loss

SETTINGS = Settings(
    steps=30,
    batch_size=8,
    optimizer="adamw",
    learning_rate=0.05,
    schedule="cosine",
    weight_decay=0.0,
    averaging_decay=0.0,
    max_gradient_norm=10.0,
    seed=3,
    evaluate_every=10,
)
ROWS = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))


def _models() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"a": nn.Linear(4, 1), "b": nn.Linear(4, 1)}


def _loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
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
    loss: Loss = _loss,
) -> None:
    def report(step: int, line: str) -> None:
        if step == kill_at:
            raise KilledError

    fit(launch(), models, len(ROWS), loss, _evaluate, settings, directory, report)


def _weights(models: dict[str, nn.Module]) -> list[Tensor]:
    return [p.detach() for model in models.values() for p in model.parameters()]


def test_training_fits(tmp_path: Path) -> None:
    models = _models()
    before = _evaluate(models["a"])["loss"]
    _fit(models, tmp_path, replace(SETTINGS, steps=300, evaluate_every=100))
    assert _evaluate(models["a"])["loss"] < 0.01 * before
    assert (tmp_path / "metrics.csv").is_file()
    assert list(tmp_path.glob("events.out.tfevents.*"))


@pytest.mark.parametrize("rows", [np.int64(50), [np.int64(20), np.int64(30)]], ids=repr)
def test_numbers_of_rows_may_be_of_another_library(tmp_path: Path, rows: Any) -> None:
    models, own = _models(), _models()
    for each, count in ((models, rows), (own, 50 if isinstance(rows, np.integer) else [20, 30])):
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        fit(launch(), each, count, _loss, _evaluate, SETTINGS, place, _silent)
    assert all(map(torch.equal, _weights(models), _weights(own)))
    with pytest.raises(TypeError, match=r"rows must be an integer, got 50\.0"):
        fit(launch(), own, 50.0, _loss, _evaluate, SETTINGS, tmp_path / "bad", _silent)


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


def _parts(first: list[float], second: list[float]) -> tuple[nn.Module, list[Any], Any]:
    """Return a model of two parts, its states at evaluations, and evaluations of given losses."""
    seen: list[Any] = []
    losses = zip(first, second, strict=True)

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        own, other = next(losses)
        return {"loss": own + other, "0.loss": own, "1.loss": other}

    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1)), seen, evaluate


def test_each_part_is_kept_in_its_own_best_state(tmp_path: Path) -> None:
    model, seen, evaluate = _parts([3.0, 1.0, 2.0], [3.0, 2.0, 1.0])
    fit(launch(), {"m": model}, len(ROWS), _loss, evaluate, SETTINGS, tmp_path, _silent)
    kept = model.state_dict()
    assert torch.equal(kept["0.weight"], seen[1]["0.weight"])
    assert torch.equal(kept["1.weight"], seen[2]["1.weight"])
    assert not torch.equal(seen[1]["1.weight"], seen[2]["1.weight"])


def test_only_submodules_have_losses_of_their_own(tmp_path: Path) -> None:
    def evaluate(model: nn.Module) -> dict[str, float]:
        return {"loss": 1.0, "kl.loss": 2.0}

    with pytest.raises(
        ValueError, match=r"evaluate gives 'kl\.loss', but the model has no submodul"
    ):
        fit(launch(), {"m": _models()["a"]}, 50, _loss, evaluate, SETTINGS, tmp_path, _silent)


def test_training_ends_when_no_part_has_patience_left(tmp_path: Path) -> None:
    """A part that has run out of it stays so, but may still improve."""
    first = [1.0, 2.0, 2.0, 0.5, 2.0, 2.0, 2.0, 2.0]
    model, seen, evaluate = _parts(first, [4.0, 3.0, 3.0, 2.0, 3.0, 3.0, 3.0, 3.0])
    settings = replace(SETTINGS, evaluate_every=1, patience=2)
    fit(launch(), {"m": model}, len(ROWS), _loss, evaluate, settings, tmp_path, _silent)
    assert len(seen) == 6
    assert torch.equal(model.state_dict()["0.weight"], seen[3]["0.weight"])


def test_each_module_has_its_own_mode_back_after_an_evaluation(tmp_path: Path) -> None:
    model = nn.Sequential(nn.BatchNorm1d(4).eval(), nn.Dropout(0.1), nn.Linear(4, 1))
    statistics = {k: v.clone() for k, v in model[0].state_dict().items() if "running" in k}
    modes: list[list[bool]] = []

    def loss(trained: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        modes.append([layer.training for layer in model])
        return _loss(trained, rows, step, noise)

    def evaluate(evaluated: nn.Module) -> dict[str, float]:
        assert not any(module.training for module in evaluated.modules())
        return _evaluate(evaluated)

    fit(launch(), {"a": model}, len(ROWS), loss, evaluate, SETTINGS, tmp_path, _silent)
    assert modes == 30 * [[False, True, True]]
    assert all(torch.equal(value, model[0].state_dict()[k]) for k, value in statistics.items())


def _sometimes(bad: set[int], value: float) -> Loss:
    """A loss that is not finite at some steps; its gradient is where it is infinite."""

    def loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        usual = _loss(model, rows, step, noise)
        if step not in bad:
            return usual
        return usual * value if math.isnan(value) else usual + value

    return loss


OTHERS = [
    SETTINGS,
    replace(SETTINGS, weight_decay=0.1, averaging_decay=0.9),
    replace(SETTINGS, optimizer="adam", averaging_decay=0.99),
    replace(SETTINGS, optimizer="adamax", schedule="constant", averaging_decay=0.5),
]


@pytest.mark.parametrize("settings", OTHERS, ids=lambda s: f"{s.optimizer}-{s.averaging_decay}")
@pytest.mark.parametrize("kill_at", [4, 10, 27])
def test_a_killed_run_goes_on_to_the_same_numbers(
    tmp_path: Path, settings: Settings, kill_at: int
) -> None:
    loss = _sometimes({2, 19, 20, 21}, math.nan)
    whole, killed = _models(), _models()
    _fit(whole, tmp_path / "whole", settings, loss=loss)
    with pytest.raises(KilledError):
        _fit(killed, tmp_path / "killed", settings, kill_at, loss)
    resumed = _models()
    _fit(resumed, tmp_path / "killed", settings, loss=loss)
    assert all(map(torch.equal, _weights(whole), _weights(resumed)))
    curves = [
        [
            {k: v for k, v in row.items() if k not in ("seconds", "rate")}
            for row in metrics.read(tmp_path / name)
        ]
        for name in ("whole", "killed")
    ]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 2 * 2 * 3
    assert curves[0][-2]["skipped"] == 4


def test_a_killed_run_does_not_forget_that_it_diverges(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=100)
    loss = _sometimes(set(range(5, 100)), math.nan)
    with pytest.raises(KilledError):
        _fit(_models(), tmp_path, settings, 33, loss)
    with pytest.raises(FloatingPointError, match="at step 54"):
        _fit(_models(), tmp_path, settings, loss=loss)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_steps_that_are_not_finite_are_skipped(tmp_path: Path, value: float) -> None:
    seen: list[list[Tensor]] = []

    def loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        seen.append([p.detach().clone() for p in model.parameters()])
        return _sometimes({5, 6, 21}, value)(model, rows, step, noise)

    models = {"a": _models()["a"]}
    lines: list[str] = []
    settings = replace(SETTINGS, averaging_decay=0.9)

    def report(step: int, line: str) -> None:
        lines.append(line)

    fit(launch(), models, len(ROWS), loss, _evaluate, settings, tmp_path, report)
    same = [all(map(torch.equal, *pair)) for pair in pairwise(seen)]
    assert [step for step, unchanged in enumerate(same, 1) if unchanged] == [5, 6, 21]
    train = [row for row in metrics.read(tmp_path) if row["split"] == "train"]
    assert [row["skipped"] for row in train] == [2, 2, 3]
    assert all(math.isfinite(row["loss"]) and row["rate"] > 0 for row in train)
    assert "skipped" not in lines[4]
    assert lines[5].endswith("/s 1 skipped")


def test_a_gradient_that_is_not_finite_is_skipped(tmp_path: Path) -> None:
    def loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        # The derivative of the square root at zero is infinite.
        return _loss(model, rows, step, noise) + (model.weight.sum() * 0).sqrt()

    models = _models()
    before = [weight.clone() for weight in _weights(models)]
    fit(launch(), models, len(ROWS), loss, _evaluate, SETTINGS, tmp_path, _silent)
    assert all(map(torch.equal, _weights(models), before))


def test_metrics_where_every_step_was_skipped(tmp_path: Path) -> None:
    loss = _sometimes(set(range(11, 21)), math.nan)
    fit(launch(), _models(), len(ROWS), loss, _evaluate, SETTINGS, tmp_path, _silent)
    rows = [row for row in metrics.read(tmp_path) if (row["model"], row["split"]) == ("a", "train")]
    assert [math.isnan(row["loss"]) for row in rows] == [False, True, False]
    assert [row["skipped"] for row in rows] == [0, 10, 10]


def test_training_that_diverges_is_an_error(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=100)
    nearly = _sometimes(set(range(1, 50)) | set(range(51, 100)), math.nan)
    fit(launch(), _models(), len(ROWS), nearly, _evaluate, settings, tmp_path / "1", _silent)
    loss = _sometimes(set(range(23, 100)), math.nan)
    with pytest.raises(FloatingPointError, match="training of a diverged at step 72: the loss"):
        fit(launch(), _models(), len(ROWS), loss, _evaluate, settings, tmp_path / "2", _silent)


def test_an_evaluation_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    def evaluate(model: nn.Module) -> dict[str, float]:
        return {"loss": float("nan")}

    with pytest.raises(FloatingPointError, match="the validation loss of a at step 10 is nan"):
        fit(launch(), _models(), len(ROWS), _loss, evaluate, SETTINGS, tmp_path, _silent)


@pytest.mark.parametrize("accelerator", ["warp-drive", "mps", ""])
def test_accelerators_that_are_not_there(accelerator: str) -> None:
    with pytest.raises(ValueError, match=f"accelerator '{accelerator}' cannot be used: "):
        launch(accelerator)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "devices must be at least 1, got 0"),
        ({"precision": "16-mixed"}, "precision must be one of '32-true', '64-true', 'bf16-mixed'"),
        ({"precision": "8"}, "precision must be one of"),
    ],
)
def test_what_launch_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launch(**options)


@pytest.mark.parametrize(
    ("precision", "weights", "computed"),
    [
        ("32-true", torch.float32, torch.float32),
        ("64-true", torch.float64, torch.float64),
        ("bf16-mixed", torch.float32, torch.bfloat16),
    ],
)
def test_precisions(
    tmp_path: Path, precision: str, weights: torch.dtype, computed: torch.dtype
) -> None:
    """Training computes in the wanted precision, evaluation in that of the weights."""
    seen: set[torch.dtype] = set()
    model = nn.Linear(4, 1)
    model.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))

    def evaluate(module: nn.Module) -> dict[str, float]:
        assert module is model
        assert seen == {computed}
        target = ROWS.sum(1, keepdim=True).to(weights)
        return {"loss": float((module(ROWS.to(weights)) - target).square().mean())}

    settings = replace(SETTINGS, steps=100, evaluate_every=100)
    fabric = launch(precision=precision)
    fit(fabric, {"a": model}, len(ROWS), _loss, evaluate, settings, tmp_path, _silent)
    assert seen == {computed, weights}
    assert model.weight.dtype == weights
    (value,) = [r["loss"] for r in metrics.read(tmp_path) if r["split"] == "validation"]
    assert value < 0.05


def _worse(calls: list[int]) -> Any:
    """An evaluation that improves until its third call."""

    def evaluate(model: nn.Module) -> dict[str, float]:
        calls.append(len(calls))
        return {"loss": abs(3.0 - len(calls))}

    return evaluate


def test_training_ends_where_nothing_improves(tmp_path: Path) -> None:
    settings = replace(SETTINGS, evaluate_every=1, patience=4)
    model = nn.Linear(4, 1)
    calls: list[int] = []
    fit(launch(), {"a": model}, 50, _loss, _worse(calls), settings, tmp_path, _silent)
    assert len(calls) == 3 + 4
    kept = [row["step"] for row in metrics.read(tmp_path) if row["split"] == "train"]
    assert kept == [1, 2, 3, 4, 5, 6, 7]
    # Whoever goes on finds that it has ended.
    weight = model.weight.clone()
    fit(launch(), {"a": model}, 50, _loss, _worse(calls), settings, tmp_path, _silent)
    assert len(calls) == 7
    assert torch.equal(model.weight, weight)


def test_models_wait_for_each_other(tmp_path: Path) -> None:
    settings = replace(SETTINGS, evaluate_every=1, patience=4)
    losses = {"a": iter([1.0] * 30), "b": iter([2.0 - i / 30 for i in range(30)])}
    order = iter(["a", "b"] * 30)
    evaluate = lambda model: {"loss": next(losses[next(order)])}  # noqa: E731
    fit(launch(), _models(), 50, _loss, evaluate, settings, tmp_path, _silent)
    assert metrics.read(tmp_path)[-1]["step"] == 30


def test_training_that_keeps_nothing_on_disk(tmp_path: Path) -> None:
    kept, other = nn.Linear(4, 1), nn.Linear(4, 1)
    other.load_state_dict(kept.state_dict())
    fit(launch(), {"a": kept}, 50, _loss, _evaluate, SETTINGS, tmp_path, _silent)
    fit(launch(), {"a": other}, 50, _loss, _evaluate, SETTINGS, None, _silent)
    assert torch.equal(kept.weight, other.weight)


def test_the_average_is_what_is_evaluated_and_kept(tmp_path: Path) -> None:
    model, seen = _models()["a"], list[Tensor]()
    averages: list[Tensor] = []

    def loss(model: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        seen.append(model.weight.detach().clone())
        return _loss(model, rows, step, noise)

    def evaluate(module: nn.Module) -> dict[str, float]:
        averages.append(module.weight.detach().clone())
        assert not module.training
        return _evaluate(module)

    settings = replace(SETTINGS, steps=12, averaging_decay=0.3, evaluate_every=6)
    fit(launch(), {"a": model}, len(ROWS), loss, evaluate, settings, tmp_path, _silent)
    expected = seen[1]
    for done, weight in enumerate(seen[2:7], 1):
        decay = min(0.3, (1 + done) / (10 + done))
        expected = decay * expected + (1 - decay) * weight
    assert torch.allclose(averages[0], expected, atol=1e-6)
    assert not torch.allclose(averages[0], seen[6], atol=1e-4)
    assert torch.equal(model.weight, averages[1])


def test_damaged_checkpoints(tmp_path: Path) -> None:
    _fit(_models(), tmp_path)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a valid safetensors file"):
        _fit(_models(), tmp_path)
    newest.write_bytes(whole)
    with pytest.raises(ValueError, match="does not fit this run"):
        _fit({"other": nn.Linear(4, 1)}, tmp_path)


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    _fit(_models(), tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000020.safetensors", "step-00000030.safetensors"]


def test_processes_that_train_by_themselves_share_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under torchrun, one device each: all would write the same checkpoints."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    fabric = SimpleNamespace(world_size=1)
    with pytest.raises(ValueError, match="directory must have one run that writes to it, got 2"):
        fit(fabric, {}, 50, _loss, _evaluate, SETTINGS, tmp_path / "run", _silent)
    assert not (tmp_path / "run").exists()
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")  # another program's
    fit(launch(), _models(), 50, _loss, _evaluate, SETTINGS, tmp_path / "run", _silent)
