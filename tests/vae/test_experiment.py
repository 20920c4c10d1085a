"""Training: interrupted anywhere it comes to the same numbers, in every precision it works."""

from __future__ import annotations

import csv
import math
import random
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invflow.vae import data, experiment, run
from invflow.vae.build import RESNET_POSTERIORS, build
from invflow.vae.config import Config, Format
from invflow.vae.presets import PRESETS
from tests.helpers import assert_close

SMALL: dict[str, Any] = {
    "hidden": (6,),
    "context": 4,
    "latents": 2,
    "flow_steps": 1,
    "flow_hidden": (5,),
    "depths": (1, 1),
    "features": 4,
    "maps": 2,
    "steps": 13,
    "batch_size": 7,
    "evaluate_every": 3,
    "importance_samples": 5,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "preset": {**PRESETS["small"], **SMALL, "average": 0.9, "warmup": 9, "free_bits": 0.3},
    "bottom-up": {
        **SMALL,
        "network": "resnet-vae",
        "posteriors": ("bottom-up-iaf",),
        "train_samples": 3,
        "optimizer": "adamax",
    },
    "importance": {**SMALL, "posteriors": ("diagonal", "iaf"), "train_samples": 4},
    "vamp": {**SMALL, "prior": "vamp", "likelihood": "bernoulli", "average": 0.5},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("images") / "images.npz"
    levels = np.random.default_rng(0).integers(0, 9, (40, 5, 4), dtype=np.uint8)
    np.savez(path, images=levels)
    return str(path)


def _metrics(directory: Path) -> list[dict[str, str]]:
    """Return what was measured, but for how long it took."""
    rows = csv.DictReader((directory / "metrics.csv").read_text().splitlines())
    return [{k: v for k, v in row.items() if k not in ("seconds", "rate")} for row in rows]


@pytest.mark.parametrize("name", CONFIGS)
def test_an_interrupted_run_comes_to_the_same_numbers(
    name: str, images: str, tmp_path: Path
) -> None:
    config = Config(data=images, **CONFIGS[name])
    whole = experiment.train(config, tmp_path / "whole")
    source = random.Random(name)
    for _ in range(3):
        stop = source.randrange(config.steps + 1)

        def report(step: int, line: str, stop: int = stop) -> None:
            if step >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            experiment.train(config, tmp_path / "again", report=report)
        assert not run.is_finished(tmp_path / "again")
    torch.manual_seed(source.randrange(1000))  # of which nothing depends
    again = experiment.train(config, tmp_path / "again")
    assert whole is not None
    assert again is not None
    assert _metrics(tmp_path / "again") == _metrics(tmp_path / "whole")
    steps = {int(row["step"]) for row in _metrics(tmp_path / "whole")}
    assert steps == {3, 6, 9, 12, 13}
    names = [tmp_path / each / "model.safetensors" for each in ("whole", "again")]
    assert names[0].read_bytes() == names[1].read_bytes()
    for posterior, result in whole.results.items():
        assert math.isfinite(result.log_likelihood)
        assert again.results[posterior].bound == result.bound
        assert again.results[posterior].kls == result.kls
        assert len(result.kls) == (4 if config.network == "resnet-vae" else 1)


@pytest.mark.parametrize("network", ["mlp", "resnet-vae"])
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions(network: str, precision: str, images: str, tmp_path: Path) -> None:
    settings = {**SMALL, "network": network, "precision": precision, "average": 0.5}
    config = Config(data=images, **settings)
    finished = experiment.train(config, tmp_path / "run")
    assert finished is not None
    exact = experiment.train(
        config.model_copy(update={"precision": "32-true"}), tmp_path / "single"
    )
    assert exact is not None
    dtype = torch.float64 if precision == "64-true" else torch.float32
    for name, model in run.load(tmp_path / "run").models.items():
        assert model.like.dtype == dtype
        assert_close(model.state_dict(), finished.models[name].state_dict(), tolerance=0)
        # Noise of another precision is other noise.
        ours, theirs = finished.results[name].bound, exact.results[name].bound
        assert ours == pytest.approx(theirs, rel=0.15)


def test_what_is_scored_is_the_average_of_the_weights(images: str, tmp_path: Path) -> None:
    plain, averaged = (
        experiment.train(
            Config(data=images, **{**CONFIGS["preset"], "average": average}),
            tmp_path / str(average),
        )
        for average in (0.0, 0.9)
    )
    assert plain is not None
    assert averaged is not None
    for name, result in plain.results.items():
        assert averaged.results[name].bound != result.bound


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("network", ["mlp", pytest.param("resnet-vae", marks=pytest.mark.slow)])
def test_compiled(
    network: str, images: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graphs are taken, and run as they are: generating code for them takes minutes."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    settings = {**SMALL, "network": network, "posteriors": ("iaf",), "average": 0.5}
    plain, compiled = (
        experiment.train(Config(data=images, compile=flag, **settings), tmp_path / str(flag))
        for flag in (False, True)
    )
    assert plain is not None
    assert compiled is not None
    assert compiled.results["iaf"].bound == pytest.approx(plain.results["iaf"].bound, rel=1e-3)


def _format(name: str) -> Format:
    shape, likelihood = {
        "mnist": ((1, 28, 28), "bernoulli"),
        "cifar10": ((3, 32, 32), "shared-logistic"),
        "digits": ((1, 8, 8), "logistic"),
    }[name]
    return Format(
        shape=shape, levels=17 if name == "digits" else 256, likelihood=likelihood, digest=""
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str) -> None:
    config = Config(**PRESETS[name])
    experiment._settings(config)
    assert config.data in data.NAMES
    format = _format(config.data)
    if name == "paper-cifar":
        with torch.device("meta"):
            (model,) = build(config, format).values()
        assert [layer.size for layer in model.layers] == [(16, 16)] * 20
        assert model.latents == 20 * 32 * 16 * 16
        # The model itself, less deep.
        config = config.model_copy(update={"depths": (1,)})
    models = build(config, format)
    assert list(models) == list(config.posteriors)
    for posterior, model in models.items():
        levels = torch.zeros(2, model.pixels, dtype=torch.uint8)
        bound = model.elbo(model.observe(levels)).bound
        assert bound.shape == (2,)
        assert bool(bound.isfinite().all())
        assert posterior in RESNET_POSTERIORS or config.network != "resnet-vae"


def test_the_batch_of_the_start_is_that_of_training(images: str, tmp_path: Path) -> None:
    """The layers start from the first images, before anything else is done."""
    seen: list[Tensor] = []
    config = Config(data=images, **CONFIGS["preset"])
    loaded = data.load(images, "auto")
    format = Format(
        shape=loaded.shape, levels=loaded.levels, likelihood=loaded.likelihood, digest=""
    )
    model = build(config, format)["iaf"]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    experiment._start(model, loaded.train.flatten(1)[:7], config)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert all(k.endswith((".g", ".bias")) for k in changed)
    hook = model.stem.register_forward_hook(lambda *values: seen.append(values[2]))
    model.elbo(model.observe(loaded.train.flatten(1)[:7]))
    hook.remove()
    std = seen[0].movedim(1, 0).flatten(1).std(1, correction=0)
    assert_close(std, torch.ones_like(std), tolerance=1e-4)
