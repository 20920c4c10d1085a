"""A run on disk: its directory, its settings, its trained models and their results."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invflow import _checks, _saving, _tensors
from invflow.images.data import NAMES, Images, name_of
from invflow.images.data import load as load_images
from invflow.runs.directory import Begun, Input, Kind
from invflow.vae import scores as image_scores
from invflow.vae.config import Config, Format
from invflow.vae.models.base import LatentModel
from invflow.vae.scores import Scores
from invflow.vae.weights import loaded

KIND = Kind("vae-run", "VAE run", Config, ("data",), (_saving.TENSORS, image_scores.FILE))


@dataclass(frozen=True)
class Result:
    """What a posterior has reached on the test images, in nats per image.

    Attributes:
        bound: the evidence lower bound.
        bound_error: its standard error over images, or over clusters of them.
        log_likelihood: importance-sampled.
        log_likelihood_error: its standard error over images.
        gain: the log-likelihood less that of the run's first posterior, image by image.
        gain_error: its standard error over images.
        kl: of the posterior from the prior.
        active: how many latents are active.
        kls: the divergence in each group of latents.
        seconds: of training.
    """

    bound: float
    bound_error: float
    log_likelihood: float
    log_likelihood_error: float
    gain: float
    gain_error: float
    kl: float
    active: int
    kls: list[float]
    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: where it is.
        config: its settings.
        data: its images: where they are, and their digest.
        format: of its images.
        models: the trained models, by posterior.
        results: what they have reached, by posterior.
        scores: of each image.
        known: its images, if they have been read already.
    """

    directory: Path
    config: Config
    data: Input
    format: Format
    models: Mapping[str, LatentModel]
    results: Mapping[str, Result]
    scores: Scores
    known: Images | None = None

    @cached_property
    def images(self) -> Images:
        """The images of the run, which are read once.

        Raises:
            FileNotFoundError, ValueError: if they are no longer there, or have changed.
        """
        if self.known is not None:
            return self.known
        images = read(self.config, self.data.path)
        found = images.digest, images.labels_digest
        if found != (self.format.digest, self.format.labels):
            raise ValueError(f"the images of {self.directory} have changed since it was trained")
        return images

    def given(self, model: LatentModel, rows: slice | Tensor = slice(None)) -> Tensor | None:
        """Return what a model is given for test images, all of them or some rows.

        None if the run is not conditional.
        """
        return given(model, self.images, "test", rows) if model.given else None

    def in_turn(self, model: LatentModel, count: int) -> Tensor | None:
        """Return what a model is given for `count` samples: one class after the other, again.

        None if the run is not conditional.
        """
        if not self.format.classes:
            return None
        return model.one_hot(torch.arange(count) % len(self.format.classes))

    def model(self, posterior: str | None = None) -> LatentModel:
        """Return the model with a posterior, the last one by default.

        Raises:
            ValueError: if the run has none with this posterior.
        """
        name = posterior or list(self.models)[-1]
        return self.models[_checks.choice("posterior", name, self.models)]


def read(config: Config, path: Path | None = None) -> Images:
    """Return the images that a run is about.

    Args:
        config: its settings.
        path: where they are now; None for where the settings say.

    Raises:
        ValueError: as `data.load`; or if binarisation is fixed and the likelihood not Bernoulli.
    """
    what = config.data if path is None else str(path)
    images = load_images(what, config.size, labelled=config.conditional)
    if config.binarisation == "dynamic":
        return images
    if (name := likelihood(config, images)) != "bernoulli":
        raise ValueError(f"binarisation must be dynamic for the likelihood {name!r}")
    return images.binarised()


def likelihood(config: Config, images: Images) -> str:
    """Return the name of the likelihood of a run, which depends on its images unless it is set."""
    if config.likelihood != "auto":
        return config.likelihood
    return "bernoulli" if images.binary else "logistic"


def given(
    model: LatentModel, images: Images, part: str, rows: slice | Tensor = slice(None)
) -> Tensor | None:
    """Return what a model is given for the images of a part, all of them or some rows.

    None if the model is not conditional.
    """
    return model.one_hot(images.labels[part][rows]) if model.given else None


def begun(config: Config, format: Format) -> Begun[Config]:
    """Return what the directory of a run says of it."""
    path = None if config.data in NAMES else Path(config.data)
    # A run with other labels is another run.
    both = f"{format.digest}{format.labels}".encode()
    digest = hashlib.sha256(both).hexdigest() if format.labels else format.digest
    inputs = {"data": Input(path, digest)}
    return Begun(config, inputs, {"images": format.model_dump(mode="json")})


def finish(
    directory: Path,
    models: Mapping[str, LatentModel],
    results: Mapping[str, Result],
    scores: Scores,
) -> None:
    """Write the trained models, their results and the scores of each image."""
    state = {
        f"{name}.{key}": value
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }
    _tensors.write(directory / _saving.TENSORS, state)
    image_scores.write(directory, scores)
    # A single image has no standard errors, and JSON has no NaN.
    posteriors = {
        name: {k: None if v != v else v for k, v in asdict(result).items()}
        for name, result in results.items()
    }
    KIND.finish(directory, {"posteriors": posteriors})


def load(directory: str | Path, images: Images | None = None) -> Run:
    """Return a finished run.

    Args:
        directory: of the run.
        images: those of the run, if they have been read already.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    config, inputs, format = _settings(directory)
    results = KIND.results(directory, lambda content: _results(content, config))
    models = loaded(config, format, directory / _saving.TENSORS)
    scores = image_scores.read(directory, config.posteriors, config.importance_samples)
    return Run(directory, config, inputs["data"], format, models, results, scores, images)


def name(config: Config) -> str:
    """Return the name of a run that is given none."""
    return name_of(config.data)


def _settings(directory: Path) -> tuple[Config, Mapping[str, Input], Format]:
    there = KIND.begun(directory)
    try:
        format = Format(**there.facts["images"])
        format.check(there.config.conditional)
        return there.config, there.inputs, format
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{directory} does not say what its images are: {error}") from error


def _results(content: Any, config: Config) -> dict[str, Result]:
    return {name: _result(content["posteriors"][name]) for name in config.posteriors}


def _result(content: Mapping[str, Any]) -> Result:
    values: dict[str, Any] = {k: math.nan if v is None else v for k, v in dict(content).items()}
    for key, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            _checks.number(key, each)
    return Result(**values)
