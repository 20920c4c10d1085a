"""Settings: what they refuse, and the schedules."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from invflow.training import OPTIMIZERS, SCHEDULES, Settings
from tests.helpers import assert_close

SETTINGS = Settings(
    steps=10,
    batch_size=8,
    optimizer="adamw",
    learning_rate=0.5,
    schedule="cosine",
    weight_decay=0.1,
    averaging_decay=0.0,
    max_gradient_norm=10.0,
    seed=3,
    evaluate_every=10,
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer must be one of 'adam', 'adamax', 'adamw', got 'sgd'"),
        ({"schedule": "linear"}, "schedule must be one of 'constant', 'cosine', got 'linear'"),
        ({"averaging_decay": 1.0}, r"averaging_decay must be in \[0, 1\), got 1.0"),
        ({"averaging_decay": -0.1}, r"averaging_decay must be in \[0, 1\), got -0.1"),
        ({"averaging_decay": float("nan")}, r"averaging_decay must be in \[0, 1\), got nan"),
        ({"patience": -1}, "patience must be at least 0, got -1"),
        ({"optimizer": "adam"}, "weight_decay must be 0 with the optimizer 'adam', got 0.1"),
        ({"optimizer": "adamax"}, "weight_decay must be 0 with the optimizer 'adamax', got 0.1"),
    ],
)
def test_what_settings_refuse(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)


def test_settings_of_a_config() -> None:
    config = SimpleNamespace(**vars(SETTINGS), latents=3)
    assert Settings.of(config) == SETTINGS
    del config.weight_decay, config.patience  # patience has a default
    assert Settings.of(config, weight_decay=0.2, seed=7) == replace(
        SETTINGS, weight_decay=0.2, seed=7
    )
    with pytest.raises(TypeError, match="weight_decay"):
        Settings.of(config)
    with pytest.raises(TypeError, match="latents"):
        Settings.of(config, latents=3)


def test_an_average_that_is_not_a_number() -> None:
    with pytest.raises(TypeError, match=r"averaging_decay must be a number, got '0\.9'"):
        replace(SETTINGS, averaging_decay="0.9")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_by_name(name: str) -> None:
    settings = replace(SETTINGS, optimizer=name, weight_decay=0.0)
    optimizer = settings.build_optimizer(nn.Linear(2, 1))
    assert type(optimizer).__name__.lower() == name
    assert optimizer.defaults["lr"] == 0.5


def test_weight_decay_is_decoupled() -> None:
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.detach().clone()
    model.weight.grad = torch.zeros(1, 1)
    SETTINGS.build_optimizer(model).step()
    assert_close(model.weight, before * (1 - 0.5 * 0.1), 1e-6)


def test_schedules() -> None:
    rates = {
        name: [replace(SETTINGS, schedule=name).learning_rate_after(done) for done in (0, 5, 10)]
        for name in SCHEDULES
    }
    assert_close(rates["cosine"], [0.5, 0.25, 0.0], 1e-12)
    assert rates["constant"] == [0.5, 0.5, 0.5]
