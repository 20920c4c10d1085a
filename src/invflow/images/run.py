"""A run on disk: its directory, its settings, its trained density and how good it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

try:
    from pydantic import BaseModel, ConfigDict
except ImportError as error:
    raise ImportError(
        'the run of a density needs pydantic: pip install "invflow[images]"'
    ) from error
from torch import Tensor

from invflow import _arrays, _saving
from invflow._averages import mean_and_error
from invflow.flows import Flow
from invflow.flows.labels import one_hot
from invflow.images.config import Config, Format
from invflow.images.data import NAMES, Images, name_of
from invflow.images.data import load as load_images
from invflow.images.model import ImageDensity
from invflow.images.pixels import bits_per_dim
from invflow.runs import scores
from invflow.runs.directory import Begun, Input, Kind
from invflow.runs.scores import Column

#: Where in a run's directory the flow is.
FLOW = "model"
SAVED = (f"{FLOW}/{_saving.CONFIG}", f"{FLOW}/{_saving.TENSORS}")
KIND = Kind(
    "image-density-run", "run of a density of images", Config, ("data",), (*SAVED, scores.FILE)
)
#: What is kept of each test image.
COLUMNS = {
    "bound": Column(("images",), bounded=False),
    "clusters": Column(("images",), torch.int64),
}


class Results(BaseModel):
    """The results of a run.

    Attributes:
        seconds: of training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        directory: where it is.
        config: its settings.
        data: its images: where they are, and their digest.
        format: of its images.
        model: what it has learned.
        results: of the run.
        scores: bound on the log probability of each test image in nats, (images,).
        clusters: the number of each test image's cluster, (images,).
        known: its images, if they have been read already.
    """

    directory: Path
    config: Config
    data: Input
    format: Format
    model: ImageDensity
    results: Results
    scores: Tensor
    clusters: Tensor
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
        if Format.of(images) != self.format:
            raise ValueError(f"the images of {self.directory} have changed since it was trained")
        return images

    @property
    def bits(self) -> tuple[float, float]:
        """Bits per dimension of the test images, and the standard error."""
        return mean_and_error(bits_per_dim(self.scores, self.format.pixels), self.clusters)

    def context(self, labels: Tensor) -> Tensor | None:
        """Return the context for the numbers of classes; None if the run has no classes."""
        return contexts(self.model, self.format, labels)


def density(flow: Flow, config: Config, format: Format) -> ImageDensity:
    """Return the density of images that a flow makes."""
    return ImageDensity(flow, format.levels, format.shape, config.margin)


def contexts(model: ImageDensity, format: Format, labels: Tensor) -> Tensor | None:
    """Return the context for the numbers of classes, -1 for none; None if there are no classes."""
    return one_hot(labels, len(format.classes), model.like) if format.classes else None


def read(config: Config, path: Path | None = None) -> Images:
    """Return the images that a run is about.

    Args:
        config: its settings.
        path: where they are now; None for where the settings say.
    """
    what = config.data if path is None else str(path)
    return load_images(what, config.size, labelled=config.conditional)


def takes(data: str) -> bool:
    """Return whether the data of a density are images: a name, a folder, or arrays of images."""
    path = Path(data)
    if data in NAMES or path.is_dir():
        return True
    if path.suffix.lower() not in (".npy", ".npz") or not path.is_file():
        return False
    found = _arrays.read(path)
    arrays = found if isinstance(found, dict) else {"images": found}
    return any(array.ndim > 2 for array in arrays.values())


def begun(config: Config, format: Format) -> Begun[Config]:
    """Return what the directory of a run says of it."""
    path = None if config.data in NAMES else Path(config.data)
    digest = hashlib.sha256(f"{format.digest}{format.labels}".encode()).hexdigest()
    facts = {"images": format.model_dump(mode="json")}
    return Begun(config, {"data": Input(path, digest)}, facts)


def finish(directory: Path, flow: Flow, results: Results, columns: Mapping[str, Tensor]) -> None:
    """Write the flow, the results and the scores of each test image."""
    flow.save_pretrained(directory / FLOW)
    scores.write(directory, columns)
    KIND.finish(directory, json.loads(results.model_dump_json()))


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
    there = KIND.begun(directory)
    try:
        format = Format(**there.facts["images"])
        format.check(there.config.conditional)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{directory} does not say what its images are: {error}") from error
    results = KIND.results(directory, Results.model_validate)
    model = density(Flow.from_pretrained(directory / FLOW), there.config, format)
    found = scores.read(directory, COLUMNS)
    data, both = there.inputs["data"], (found["bound"], found["clusters"])
    return Run(directory, there.config, data, format, model.eval(), results, *both, images)


def name(config: Config) -> str:
    """Return the name of a run that is given none."""
    return f"{name_of(config.data)}-density"
