"""A run of a density of images: trained, scored, kept on disk and found again."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invflow._averages import mean_and_error
from invflow.images import experiment, noisy, run
from invflow.images.build import build, names
from invflow.images.config import Config, Format
from invflow.images.pixels import bits_per_dim
from invflow.images.run import contexts, density, takes
from invflow.training import metrics

SMALL: dict[str, Any] = {
    "hidden_features": (8,),
    "transforms": 2,
    "steps": 60,
    "batch_size": 16,
    "draws": 3,
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of two classes, dark and bright, with labels."""
    random = np.random.default_rng(0)
    labels = np.arange(120) % 2
    levels = random.integers(0, 3, (120, 4, 6)) + 6 * labels[:, None, None]
    np.savez(tmp_path / "squares.npz", images=levels, labels=labels)
    return tmp_path / "squares.npz"


def _config(images: Path, **settings: Any) -> Config:
    return Config(data=str(images), **{**SMALL, **settings})


def test_scores_are_those_of_the_model_on_test_images(images: Path, tmp_path: Path) -> None:
    config = _config(images, conditional=True, steps=200, learning_rate=1e-2)
    done = experiment.train(config, tmp_path / "run")
    assert done.format == Format.of(done.images)
    assert (done.format.shape, done.format.levels) == ((1, 4, 6), 9)
    noise = torch.Generator().manual_seed(0)
    context = contexts(done.model, done.format, done.images.labels["test"])
    expected = done.model.log_likelihood(done.images.test, 3, noise, context=context)
    assert torch.equal(done.scores, expected.double())
    assert done.bits == mean_and_error(bits_per_dim(done.scores, 24))
    # A uniform density has log2(9) bits; dark and bright images have three levels each.
    assert np.log2(3) < done.bits[0] < np.log2(9)
    again = run.load(tmp_path / "run")
    assert torch.equal(again.scores, done.scores)
    assert again.images.digest == done.images.digest
    assert run.name(config) == "squares-density"


def test_a_finished_run_is_returned_and_another_is_not_overwritten(
    images: Path, tmp_path: Path
) -> None:
    first = experiment.train(_config(images, steps=3), tmp_path / "run")
    told: list[str] = []
    again = experiment.train(
        _config(images, steps=3), tmp_path / "run", report=lambda step, line: told.append(line)
    )
    assert told == ["already finished"]
    assert torch.equal(first.scores, again.scores)
    with pytest.raises(FileExistsError, match="different settings"):
        experiment.train(_config(images, steps=4), tmp_path / "run")


def test_samples_are_of_the_class_that_is_given(images: Path, tmp_path: Path) -> None:
    config = _config(images, conditional=True, noise=0.05, steps=250, learning_rate=1e-2)
    done = experiment.train(config, tmp_path / "run")
    labels = torch.tensor([0, 1]).repeat(20)
    for guidance in (0.0, 1.0):
        noise, context = torch.Generator().manual_seed(1), done.context(labels)
        drawn = done.model.sample(40, noise, context=context, noise=0.05, guidance=guidance)
        means = drawn.float().mean((1, 2, 3))
        assert means[0::2].mean() < 3 < 5 < means[1::2].mean()


def test_what_is_kept_is_best_by_what_is_trained(images: Path, tmp_path: Path) -> None:
    """On noisy images if they are noisy: the loss of the validation images has both noises."""
    done = experiment.train(_config(images, noise=0.2, steps=60), tmp_path / "run")
    rows = [row for row in metrics.read(tmp_path / "run") if row["split"] == "validation"]
    noise, validation = torch.Generator().manual_seed(0), done.images.validation
    with torch.no_grad():
        expected = bits_per_dim(noisy(done.model, validation, 0.2, noise), 24).mean()
    assert float(expected) == pytest.approx(min(row["loss"] for row in rows), rel=1e-6)
    assert all(row["bits"] != row["loss"] for row in rows)
    assert done.context(torch.tensor([0])) is None


def test_labels_are_hidden_from_the_fraction_that_is_asked_for(images: Path) -> None:
    loaded = run.read(_config(images, conditional=True))
    format = Format.of(loaded)
    seen: list[torch.Tensor] = []
    for dropout in (None, 0.0, 0.5, 1.0):
        config = _config(images, conditional=True, label_dropout=dropout)
        model = run.density(build(config, format), config, format)
        trained = experiment._Trained(model, config, format)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(experiment, "contexts", lambda m, f, labels: seen.append(labels) or None)
            rows = torch.zeros(1000, dtype=torch.long)
            with pytest.raises(ValueError, match="context"):
                trained(torch.zeros(1000, 24), rows, torch.Generator().manual_seed(0))
    hidden = [float((labels == -1).float().mean()) for labels in seen]
    assert hidden == pytest.approx([0.1, 0.0, 0.5, 1.0], abs=0.05)
    with pytest.raises(ValueError, match="label_dropout needs conditional"):
        Config(data="digits", label_dropout=0.1)


def test_images_that_have_changed_are_noticed(images: Path, tmp_path: Path) -> None:
    done = experiment.train(_config(images, steps=2), tmp_path / "run")
    there = np.load(images)
    np.savez(images, images=there["images"][::-1], labels=there["labels"])
    with pytest.raises(ValueError, match=r"the images of .* have changed"):
        _ = dataclasses.replace(done, known=None).images


@pytest.mark.parametrize("name", ["tarflow", "tariaf", "maf", "nsf", "gaussian", "coupling-nsf"])
@pytest.mark.parametrize("classes", [0, 3])
def test_flows_by_name(name: str, classes: int) -> None:
    labels = "of the classes" if classes else ""
    format = Format(
        shape=(2, 2, 4), levels=9, digest="", classes=("a", "b", "c")[:classes], labels=labels
    )
    settings = {} if name == "gaussian" else {"hidden_features": (8,)}
    config = Config(data="digits", flow=name, **settings)
    first, again = build(config, format), build(config, format)
    assert (first.features, first.context) == (16, classes)
    twins = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in twins)


def test_settings_that_do_not_fit() -> None:
    format = Format(shape=(1, 3, 4), levels=9, digest="")
    with pytest.raises(ValueError, match=r"flow must be one of .*'tarflow'.*, got 'vae'"):
        build(Config(data="digits", flow="vae"), format)
    assert "mixture" not in names()
    with pytest.raises(ValueError, match=r"patch must divide .* images of 3 x 4, got 2"):
        build(Config(data="digits"), format)
    with pytest.raises(ValueError, match="does not take 'hidden_features': leave out hidden"):
        build(Config(data="digits", flow="gaussian", hidden_features=(8,)), format)
    with pytest.raises(ValueError, match="patch does not apply to the flow 'maf': leave it out"):
        build(Config(data="digits", flow="maf", patch=2), format)
    for setting in ({"alpha": 0.05}, {"logit": True}):
        with pytest.raises(ValueError, match="noise cannot be combined with logit or alpha"):
            Config(data="digits", noise=0.1, **setting)
    with pytest.raises(ValueError, match=r"alpha needs logit, got alpha=0.1 and logit=False"):
        Config(data="digits", logit=False, alpha=0.1)
    with pytest.raises(ValueError, match="conditional runs alone have classes and labels"):
        Format(shape=(1, 3, 4), levels=9, digest="", classes=("a",)).check(True)


@pytest.mark.parametrize(
    ("settings", "margin"),
    [({}, 0.05), ({"alpha": 0.0}, 0.0), ({"logit": False}, None), ({"noise": 0.1}, None)],
)
def test_pixels_have_logits_unless_there_is_noise(
    settings: dict[str, Any], margin: float | None
) -> None:
    config = Config(data="digits", flow="maf", transforms=1, hidden_features=(4,), **settings)
    format = Format(shape=(1, 2, 2), levels=9, digest="")
    model = density(build(config, format), config, format)
    zero = torch.zeros(4)
    middle = model.squash(zero)[0]
    torch.testing.assert_close(middle, torch.full((4,), 4.5))
    slope = 4.5 if margin is None else 9 / (1 - 2 * margin) / 4
    torch.testing.assert_close(model.squash(zero)[1], torch.tensor(4 * math.log(slope)))


def test_data_that_are_images(tmp_path: Path) -> None:
    arrays = {
        "stack.npy": np.zeros((5, 4, 4)),
        "named.npz": {"train_images": np.zeros((5, 4, 4))},
        "table.npz": {"x": np.zeros(5), "y": np.zeros(5)},
        "columns.npz": {"train": np.zeros(5), "valid": np.zeros(5), "test": np.zeros(5)},
        "both.npz": {"test": np.zeros(5), "x_test": np.zeros(5)},
        "only.npz": {"train": np.zeros((5, 4))},
        "matrix.npy": np.zeros((5, 4)),
    }
    for name, array in arrays.items():
        path = tmp_path / name
        np.savez(path, **array) if isinstance(array, dict) else np.save(path, array)
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    found = {name: takes(str(tmp_path / name)) for name in (*arrays, "table.csv", "gone.npz")}
    assert [name for name, each in found.items() if each] == ["stack.npy", "named.npz"]
    assert takes("digits")
    assert takes(str(tmp_path))
