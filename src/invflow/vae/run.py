"""A run on disk: its directory, its settings, its trained models and their results."""

from __future__ import annotations

import json
import math
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from invflow import _checks, _files, _saving
from invflow.vae.base import LatentModel
from invflow.vae.build import build
from invflow.vae.config import Config, Format

MODEL = "vae-run"
RESULTS = "results.json"


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
        format: of its images.
        models: the trained models, by posterior.
        results: what they have reached, by posterior.
    """

    directory: Path
    config: Config
    format: Format
    models: Mapping[str, LatentModel]
    results: Mapping[str, Result]

    def model(self, posterior: str | None = None) -> LatentModel:
        """Return the model with a posterior, the last one by default.

        Raises:
            ValueError: the run has none with this posterior.
        """
        name = posterior or list(self.models)[-1]
        return self.models[_checks.choice("posterior", name, self.models)]


def is_finished(directory: Path) -> bool:
    """Whether the directory holds the results of a run, which are written last."""
    return (directory / RESULTS).is_file()


def prepare(directory: Path, config: Config, format: Format, *, overwrite: bool) -> None:
    """Make the directory of a run, or see that it holds the same run, to go on with.

    Raises:
        FileExistsError: it holds another run, or something else.
    """
    aside = directory.with_name(f".{directory.name}.old")
    if _is_taken(directory):
        try:
            there = _settings(directory)
        except (OSError, ValueError) as error:
            raise FileExistsError(
                f"{directory} exists and is no VAE run; choose another --name"
            ) from error
        if not overwrite:
            if difference := _difference(there, (config, format)):
                raise FileExistsError(
                    f"{directory} holds a run with {difference}; "
                    "choose another --name, or --overwrite it"
                )
            return
        # Moved whole, so that a kill leaves no half of a run that nothing could go on with.
        shutil.rmtree(aside, ignore_errors=True)
        directory.rename(aside)
    content = {"settings": config.model_dump(mode="json"), "images": format.model_dump(mode="json")}
    versions = {name: version(name) for name in ("torch", "numpy", "safetensors")}
    versions["python"] = platform.python_version()
    _saving.write_config(directory, MODEL, content, versions=versions)
    shutil.rmtree(aside, ignore_errors=True)


def _difference(there: tuple[Config, Format], asked: tuple[Config, Format]) -> str:
    """Return in words how a run differs from another, nothing if it does not."""
    if there[1] != asked[1]:
        return "other images"
    for name in Config.model_fields:
        old, new = getattr(there[0], name), getattr(asked[0], name)
        if old != new and name != "data":  # a path is as good as another to the same images
            return f"other settings: {name} is {old}, not {new}"
    return ""


def _is_taken(directory: Path) -> bool:
    """Whether there is something at the path, other than temporary files that a kill has left."""
    if not directory.is_dir():
        return directory.exists()
    return any(not path.name.startswith(".") for path in directory.iterdir())


def finish(
    directory: Path, models: Mapping[str, LatentModel], results: Mapping[str, Result]
) -> None:
    """Write the trained models and their results."""
    state = {
        f"{name}.{key}": value
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }
    _saving.write_tensors(directory / _saving.TENSORS, state)
    # Of a single image there are no errors, and JSON knows no NaN.
    content = {
        name: {k: None if v != v else v for k, v in asdict(result).items()}
        for name, result in results.items()
    }
    text = json.dumps({"posteriors": content}, indent=2, allow_nan=False)
    _files.write_text(directory / RESULTS, text + "\n")


def load(directory: str | Path) -> Run:
    """Return a finished run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} does not exist")
    config, format = _settings(directory)
    if not is_finished(directory):
        raise ValueError(f"{directory} holds an unfinished run; `invflow vae` goes on with it")
    state, _ = _saving.read_tensors(directory / _saving.TENSORS)
    try:
        models = build(config, format)
        for name, model in models.items():
            prefix = f"{name}."
            part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            model.load_state_dict(part)
            model.eval()
    except (RuntimeError, TypeError, OverflowError) as error:
        raise ValueError(f"{directory} does not fit its configuration: {error}") from error
    return Run(directory, config, format, models, _results(directory / RESULTS, config))


def _results(path: Path, config: Config) -> dict[str, Result]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))["posteriors"]
        results: dict[str, Result] = {}
        for name in config.posteriors:
            values: dict[str, Any] = {
                k: math.nan if v is None else v for k, v in content[name].items()
            }
            results[name] = Result(**values)
        for result in results.values():
            for key, value in asdict(result).items():
                for each in value if isinstance(value, list) else [value]:
                    _checks.number(key, each)
        return results
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not hold the results of this run: {error}") from error


def _settings(directory: Path) -> tuple[Config, Format]:
    kind, content = _saving.read_config(directory)
    if kind != MODEL:
        raise ValueError(f"{directory} holds the model {kind!r}, expected a VAE run")
    try:
        return Config(**content["settings"]), Format(**content["images"])
    except (KeyError, TypeError, ValidationError) as error:
        raise ValueError(f"{directory} has a configuration of another kind: {error}") from error
