"""A run on disk: its directory, its settings, its trained models and their results."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from invflow import _checks, _files, _saving
from invflow.runs import directory as runs_directory
from invflow.runs import places
from invflow.vae.base import LatentModel
from invflow.vae.config import Config, Format
from invflow.vae.data import NAMES
from invflow.vae.weights import loaded

MODEL = "vae-run"


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


def prepare(directory: Path, config: Config, format: Format, *, overwrite: bool) -> None:
    """Make the directory of a run, or see that it holds the same run, to go on with.

    Raises:
        FileExistsError: it holds another run, or something else.
    """
    named = config.data in NAMES
    content = {
        "settings": config.model_dump(mode="json"),
        "images": format.model_dump(mode="json"),
        "data": None if named else places.noted(config.data, directory),
    }
    asked = (config, format)
    runs_directory.prepare(
        directory,
        MODEL,
        content,
        lambda: _difference(_settings(directory), asked),
        kind="VAE run",
        overwrite=overwrite,
        reads=[] if named else [config.data],
    )


def _difference(there: tuple[Config, Format], asked: tuple[Config, Format]) -> str:
    return (
        "other images"
        if there[1] != asked[1]
        else runs_directory.other_settings(there[0], asked[0])
    )


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
    _files.write_text(directory / runs_directory.RESULTS, text + "\n")


def load(directory: str | Path) -> Run:
    """Return a finished run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is unfinished, damaged, or of another kind.
    """
    directory = Path(directory)
    config, format = _settings(directory)
    runs_directory.check_finished(directory)
    models = loaded(config, format, directory / _saving.TENSORS)
    return Run(directory, config, format, models, _results(directory, config))


def data(directory: Path) -> Path | None:
    """Return where the images of a run are, or were; None where they are known by name.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: it is damaged, or of another kind.
    """

    def read(content: Any) -> Path | None:
        name = Config(**content["settings"]).data
        # Runs of earlier versions have the path alone that was given.
        found = content.get("data")
        if name in NAMES:
            return None
        return Path(name) if found is None else places.found(found, directory)

    return runs_directory.settings(directory, MODEL, "VAE run", read)


def _results(directory: Path, config: Config) -> dict[str, Result]:
    def read(content: bytes) -> dict[str, Result]:
        posteriors = json.loads(content)["posteriors"]
        return {name: _result(posteriors[name]) for name in config.posteriors}

    return runs_directory.results(directory, read)


def _result(content: Mapping[str, Any]) -> Result:
    values: dict[str, Any] = {k: math.nan if v is None else v for k, v in dict(content).items()}
    for key, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            _checks.number(key, each)
    return Result(**values)


def _settings(directory: Path) -> tuple[Config, Format]:
    return runs_directory.settings(
        directory,
        MODEL,
        "VAE run",
        lambda content: (Config(**content["settings"]), Format(**content["images"])),
    )
