"""Training in Python: the same as a run, in place, resumable, and with clear errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from invflow.images import data
from invflow.vae import VAE, Normal, Objective, experiment, fit
from invflow.vae.config import Config

SIZES: dict[str, Any] = {"hidden_features": (6,), "context": 4, "latents": 2}
SHORT: dict[str, Any] = {"steps": 6, "batch_size": 16, "evaluate_every": 2, "progress": False}


def vae(**options: Any) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VAE((1, 8, 8), 17, **{"posterior": "diagonal", **SIZES, **options})


def test_it_does_what_a_run_does(tmp_path: Path) -> None:
    config = Config(
        data="digits",
        posteriors=("diagonal",),
        likelihood="logistic",
        steps=6,
        batch_size=16,
        evaluate_every=2,
        importance_samples=2,
        seed=0,
        **SIZES,
    )
    found = experiment.train(config, tmp_path / "run")
    assert found is not None
    images = data.load("digits")
    own = vae(likelihood="logistic")
    wanted = found.model().state_dict()
    assert any(not torch.allclose(own.state_dict()[name], wanted[name]) for name in wanted)
    assert fit(own, images.train, images.validation, **SHORT) is own
    for name, tensor in own.state_dict().items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-6, atol=1e-7)


def test_it_learns_and_leaves_random_numbers_alone() -> None:
    images = data.load("digits")
    model, state = vae(posterior="iaf", latents=4), torch.random.get_rng_state()
    x = model.observe(images.validation)
    with torch.no_grad():
        before = float(model.elbo(x).bound.mean())
    torch.random.set_rng_state(state)
    fit(model, images.train, images.validation, **{**SHORT, "steps": 60, "learning_rate": 1e-2})
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        assert float(model.elbo(x).bound.mean()) > before + 10


def test_it_resumes(tmp_path: Path) -> None:
    images = data.load("digits")
    whole = fit(vae(), images.train, images.validation, **SHORT).state_dict()

    class StoppedError(Exception):
        pass

    calls = 0

    class Stopping(Objective):
        def loss(self, *arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 6:
                raise StoppedError
            return super().loss(*arguments, **options)

    options = {**SHORT, "directory": tmp_path / "run"}
    with pytest.raises(StoppedError):
        fit(vae(), images.train, images.validation, objective=Stopping(warmup=2), **options)
    again = fit(vae(), images.train, images.validation, **options).state_dict()
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    assert (tmp_path / "run" / "metrics.csv").exists()
    # Not those of another training, although its checkpoints would fit.
    other = images.train.flip(0)
    for train, changed in (
        (other, {}),
        (images.train, {"objective": Objective(beta=0.5, warmup=2)}),
        (images.train, {"steps": 8}),
        (images.train, {"seed": 1}),
    ):
        with pytest.raises(ValueError, match="checkpoints of another training, with other data"):
            fit(vae(), train, images.validation, **{**options, **changed})


def test_models_of_classes_and_of_real_numbers() -> None:
    images = data.load("digits", labelled=True)
    model = vae(given=10)
    given = tuple(model.one_hot(images.labels[part]) for part in ("train", "validation"))
    fit(model, images.train, images.validation, given=given, **SHORT)
    assert model.sample(3, given=model.one_hot(torch.tensor(7))).shape == (3, 64)
    rows = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    numbers = VAE((1, 1, 3), 0, "normal", "diagonal", **SIZES)
    cast(Normal, numbers.likelihood).standardise(rows[:80])
    fit(numbers, rows[:80], rows[80:], **SHORT)
    assert numbers.sample(4).shape == (4, 3)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"model": nn.Linear(1, 1)}, TypeError, "model must be a VAE or a ResNetVAE, got Linear"),
        ({"train": [1]}, TypeError, "train must be a torch.Tensor, got list"),
        ({"train": torch.zeros(0, 64)}, ValueError, r"train must have rows of pixels, got shape"),
        ({"validation": torch.zeros(3, 63).byte()}, ValueError, "levels must have shape"),
        ({"given": (torch.zeros(1), torch.zeros(1))}, ValueError, "given must be None, because"),
        ({"objective": "elbo"}, TypeError, "objective must be an Objective, got str"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
        ({"precision": "8-true"}, ValueError, "precision must be one of"),
    ],
)
def test_errors(change: dict[str, Any], kind: type[Exception], words: str) -> None:
    levels = torch.randint(17, (20, 64), generator=torch.Generator().manual_seed(0)).byte()
    arguments = {"model": vae(), "train": levels, "validation": levels, **SHORT, **change}
    with pytest.raises(kind, match=words):
        fit(**arguments)


def test_a_conditional_model_needs_what_it_is_given() -> None:
    levels = torch.zeros(20, 64).byte()
    model, known = vae(given=10), torch.zeros(20, 10)
    for given, words in (
        (None, r"given must have shape \(20, 10\) for train, got None; one_hot makes it"),
        ((known, known[:3]), r"shape \(20, 10\) for validation, got \(3, 10\)"),
        ((known,), "given must be a pair, for train and validation, got 1"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(model, levels, levels, given=given, **SHORT)
    unknown = known.clone()
    unknown[3, 4], unknown[5] = torch.inf, torch.nan
    with pytest.raises(
        ValueError, match="given must be finite, got NaN or infinity in 2 rows for v"
    ):
        fit(model, levels, levels, given=(known, unknown), **SHORT)
    with pytest.raises(TypeError, match="given must be a pair of tensors, got Tensor"):
        fit(model, levels, levels, given=known, **SHORT)
