"""A run: posteriors trained side by side, scored, and put on disk."""

from __future__ import annotations

import json
import math
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from invflow import _checks, _files, _saving
from invflow.training import Settings, fit
from invflow.vae import data
from invflow.vae.config import Config
from invflow.vae.evaluation import Score, mean_and_error, score
from invflow.vae.model import VAE

MODEL = "vae-run"
RESULTS = "results.json"

Report = Callable[[int, str], None]


@dataclass(frozen=True)
class Result:
    """What a posterior has reached on the test images, in nats per image.

    Attributes:
        bound: the evidence lower bound.
        bound_error: its standard error over images.
        log_likelihood: importance-sampled.
        log_likelihood_error: its standard error over images.
        gain: the log-likelihood less that of the run's first posterior, image by image.
        gain_error: its standard error over images.
        kl: of the posterior from the prior.
        seconds: of training.
    """

    bound: float
    bound_error: float
    log_likelihood: float
    log_likelihood_error: float
    gain: float
    gain_error: float
    kl: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: where it is.
        config: its settings.
        models: the trained VAEs, by posterior.
        shape: height and width of an image.
    """

    directory: Path
    config: Config
    models: Mapping[str, VAE]
    shape: tuple[int, int]

    def model(self, posterior: str | None = None) -> VAE:
        """Return the model with a posterior, the last one by default.

        Raises:
            ValueError: the run has none with this posterior.
        """
        name = posterior or list(self.models)[-1]
        return self.models[_checks.choice("posterior", name, self.models)]


def train(
    config: Config,
    directory: Path,
    *,
    overwrite: bool = False,
    report: Report = lambda step, line: None,
) -> dict[str, Result]:
    """Train the posteriors of a run side by side, score them, and put everything on disk.

    A run that was stopped half way goes on from its last checkpoint.

    Args:
        config: the settings.
        directory: of the run; made if it does not exist.
        overwrite: begin anew where there is a run already.
        report: told of every training step.

    Returns:
        Results on the test images, by posterior.

    Raises:
        ImportError: an extra is not installed.
        FileExistsError: the directory holds a finished run, another run, or something else.
        FileNotFoundError, ValueError: something is wrong with the data or with the settings.
    """
    images = load_images(config)
    about = {
        "shape": list(images.shape),
        "levels": images.levels,
        "likelihood": images.likelihood,
    }
    models = build(config, about)
    _prepare(directory, {"settings": config.model_dump(mode="json"), "images": about}, overwrite)

    levels = images.train.flatten(1)
    validation = images.validation.flatten(1)

    def loss(model: nn.Module, rows: Tensor, noise: torch.Generator) -> Tensor:
        x = observe(levels[rows.cpu()].to(noise.device), noise)
        return -model(x, noise).bound.mean()

    def evaluate(model: nn.Module) -> dict[str, float]:
        device = next(model.parameters()).device
        noise = torch.Generator(device).manual_seed(config.seed)
        x = observe(validation.to(device), noise)
        elbos = [model(x, noise) for _ in range(8)]
        bound = torch.stack([elbo.bound for elbo in elbos]).mean()
        kl = torch.stack([elbo.kl for elbo in elbos]).mean()
        return {"loss": -float(bound), "kl": float(kl)}

    observe = next(iter(models.values())).likelihood.observe
    settings = Settings(
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        clip=50.0,
        seed=config.seed,
        evaluate_every=config.evaluate_every,
        accelerator=config.accelerator,
    )
    seconds = fit(models, len(levels), loss, evaluate, settings, directory, report)
    scores = {
        name: score(model, images.test, samples=config.importance_samples, seed=config.seed)
        for name, model in models.items()
    }
    first = scores[config.posteriors[0]]
    results = {name: _result(each, first, seconds[name]) for name, each in scores.items()}
    state = {
        f"{name}.{key}": value
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }
    _saving.write_tensors(directory / _saving.TENSORS, state)
    content = {"posteriors": {name: asdict(result) for name, result in results.items()}}
    _files.write_text(directory / RESULTS, json.dumps(content, indent=2) + "\n")
    return results


def load(directory: Path) -> Run:
    """Return a finished run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is unfinished, damaged, or of another kind.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} does not exist")
    config, about = _read(directory)
    if not (directory / RESULTS).is_file():
        raise ValueError(f"{directory} holds an unfinished run; `invflow vae` goes on with it")
    state, _ = _saving.read_tensors(directory / _saving.TENSORS)
    models = build(config, about)
    try:
        for name, model in models.items():
            prefix = f"{name}."
            part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            model.load_state_dict(part)
            model.eval()
    except RuntimeError as error:
        raise ValueError(f"{directory} does not fit its configuration: {error}") from error
    height, width = about["shape"]
    return Run(directory, config, models, (height, width))


def results(directory: Path) -> dict[str, Result]:
    """Return the results of a finished run, by posterior."""
    content = json.loads((directory / RESULTS).read_text(encoding="utf-8"))
    return {name: Result(**fields) for name, fields in content["posteriors"].items()}


def load_images(config: Config) -> data.Images:
    """Return the images that a configuration asks for."""
    if config.file is None:
        return data.load(config.data)
    return data.read(Path(config.file), likelihood=config.likelihood)


def build(config: Config, about: Mapping[str, Any]) -> dict[str, VAE]:
    """Return untrained models for images of the given shape, levels and likelihood.

    All of them start from the same seed.
    """
    models: dict[str, VAE] = {}
    for name in config.posteriors:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            models[name] = VAE(
                math.prod(about["shape"]),
                about["levels"],
                about["likelihood"],
                name,
                config.latents,
                config.hidden,
                config.context,
                config.flow_steps,
                config.flow_hidden,
            )
    return models


def _result(each: Score, first: Score, seconds: float) -> Result:
    return Result(
        *mean_and_error(each.bound),
        *mean_and_error(each.log_likelihood),
        *mean_and_error(each.log_likelihood - first.log_likelihood),
        float(each.kl.mean()),
        seconds,
    )


def _prepare(directory: Path, content: dict[str, Any], overwrite: bool) -> None:
    """Make the directory of a run, or see that it is one to go on with."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        try:
            config, about = _read(directory)
        except (OSError, ValueError) as error:
            raise FileExistsError(
                f"{directory} exists and is no VAE run; choose another --name"
            ) from error
        if overwrite:
            shutil.rmtree(directory)
        elif (directory / RESULTS).is_file():
            raise FileExistsError(
                f"{directory} holds a finished run; choose another --name, or --overwrite it"
            )
        elif {"settings": config.model_dump(mode="json"), "images": about} != content:
            raise FileExistsError(
                f"{directory} holds an unfinished run with other settings; "
                "choose another --name, or --overwrite it"
            )
        else:
            return
    versions = {name: version(name) for name in ("torch", "numpy", "safetensors")}
    versions["python"] = platform.python_version()
    _saving.write_config(directory, MODEL, content, versions=versions)


def _read(directory: Path) -> tuple[Config, dict[str, Any]]:
    kind, content = _saving.read_config(directory)
    if kind != MODEL:
        raise ValueError(f"{directory} holds the model {kind!r}, expected a VAE run")
    try:
        return Config(**content["settings"]), content["images"]
    except (KeyError, TypeError, ValidationError) as error:
        raise ValueError(f"{directory} has a configuration of another kind: {error}") from error
