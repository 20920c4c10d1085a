"""The scores of each image that a run keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from invflow._averages import mean_and_error
from invflow.images import data
from invflow.runs import scores as columns
from invflow.vae import evaluation, experiment, run
from invflow.vae.config import Config
from invflow.vae.run import Run
from tests.report import runs
from tests.report.runs import sealed

SMALL = {
    "posteriors": ("diagonal", "iaf"),
    "hidden_features": (6,),
    "context": 4,
    "latents": 2,
    "flow_transforms": 1,
    "flow_hidden_features": (5,),
    "steps": 4,
    "batch_size": 7,
    "evaluate_every": 4,
    "importance_samples": 18,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("scores")
    levels = np.random.default_rng(0).integers(0, 9, (40, 5, 4), dtype=np.uint8)
    np.savez(directory / "images.npz", images=levels)
    config = Config(data=str(directory / "images.npz"), **SMALL)
    found = experiment.train(config, directory / "run")
    assert found is not None
    return found


def test_scores_are_those_of_the_models(trained: Run) -> None:
    images = trained.images
    loaded = run.load(trained.directory).scores
    assert loaded.clusters.tolist() == list(range(len(images.test)))
    for name, model in trained.models.items():
        again = evaluation.score(model, images.test, samples=18, seed=0)
        found = loaded.posteriors[name]
        assert found.bound.tolist() == again.bound.tolist()
        assert found.log_likelihood.tolist() == again.log_likelihood.tolist()
        assert found.fewer.tolist() == again.fewer.tolist()
        # All training images, as there are few.
        train = evaluation.bounds(model, images.train, seed=0)
        assert found.train_bound.tolist() == train.tolist()
        result = trained.results[name]
        assert (result.bound, result.bound_error) == mean_and_error(found.bound)
        first = loaded.posteriors["diagonal"]
        gain = mean_and_error(found.log_likelihood - first.log_likelihood)
        assert (result.gain, result.gain_error) == gain


def test_errors_are_over_clusters(trained: Run) -> None:
    images = trained.images
    clusters = torch.arange(len(images.test)) // 2
    with_clusters = data.Images(**{**vars(images), "clusters": clusters})
    results, scores = experiment.scored(
        trained.config, trained.models, with_clusters, dict.fromkeys(trained.models, 1.0)
    )
    found = scores.posteriors["iaf"].bound
    assert results["iaf"].bound_error == mean_and_error(found, clusters)[1]
    assert results["iaf"].bound_error != trained.results["iaf"].bound_error
    assert scores.clusters.tolist() == clusters.tolist()


def test_few_importance_samples(tmp_path: Path) -> None:
    made = runs.write(runs.run(tmp_path / "a", importance_samples=15))
    assert run.load(made).scores.posteriors["iaf"].fewer.shape == (0, 6)


def test_damaged_scores(tmp_path: Path) -> None:
    made = runs.write(runs.run(tmp_path / "a"))
    path = made / columns.FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"scores.safetensors has changed since the run finished"):
        run.load(made)
    # Of another run, but with its own checksum.
    other = runs.run(tmp_path / "b", posteriors=("full", "iaf"))
    runs.write(other)
    path.write_bytes((other.directory / columns.FILE).read_bytes())
    sealed(made)
    with pytest.raises(ValueError, match=r"must have the scores clusters, diagonal.bound, "):
        run.load(made)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        run.load(made)
