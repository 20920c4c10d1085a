"""The scores of each image that a run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from invflow._averages import mean_and_error
from invflow.runs import scores
from invflow.runs.scores import Column
from invflow.vae.shortfall import rows

FILE = scores.FILE


@dataclass(frozen=True)
class ImageScores:
    """The scores of a posterior, in nats.

    Attributes:
        bound: evidence lower bound of each test image, (images,).
        log_likelihood: importance-sampled log-likelihood of each test image, (images,).
        fewer: the same with a fourth and a sixteenth of the samples, as `evaluation.Score` has it,
            (2, images); (0, images) with too few samples.
        train_bound: evidence lower bound of some training images, (sample,).
    """

    bound: Tensor
    log_likelihood: Tensor
    fewer: Tensor
    train_bound: Tensor


@dataclass(frozen=True)
class Scores:
    """The scores of all posteriors of a run.

    Attributes:
        posteriors: by name.
        clusters: the number of each test image's cluster, (images,); images of different clusters
            are independent.
    """

    posteriors: Mapping[str, ImageScores]
    clusters: Tensor

    def mean_and_error(self, values: Tensor) -> tuple[float, float]:
        """Return the mean of a number for each test image, and its standard error."""
        return mean_and_error(values, self.clusters)


def write(directory: Path, found: Scores) -> None:
    """Write the scores of a run into its directory."""
    columns = {
        f"{name}.{key}": value.double()
        for name, each in found.posteriors.items()
        for key, value in vars(each).items()
    }
    scores.write(directory, columns | {"clusters": found.clusters})


def read(directory: Path, posteriors: Sequence[str], importance_samples: int) -> Scores:
    """Return the scores of a run.

    Args:
        directory: of the run.
        posteriors: their names.
        importance_samples: number of importance samples per image.

    Raises:
        FileNotFoundError, OSError, ValueError: as `runs.scores.read`.
    """
    each = {
        "bound": Column(("images",)),
        "log_likelihood": Column(("images",)),
        "fewer": Column((rows(importance_samples) - 1, "images")),
        "train_bound": Column(("sample",)),
    }
    expected = {f"{name}.{key}": column for name in posteriors for key, column in each.items()}
    expected["clusters"] = Column(("images",), torch.int64)
    columns = scores.read(directory, expected)
    found = {
        name: ImageScores(**{key: columns[f"{name}.{key}"] for key in each}) for name in posteriors
    }
    return Scores(found, columns["clusters"])
