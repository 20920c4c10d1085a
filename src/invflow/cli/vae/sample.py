"""`invflow sample` of a VAE run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invflow import _files
from invflow.cli import terminal
from invflow.cli.settings import target
from invflow.report import vae as page
from invflow.vae import run as runs


def sample(run: Path, count: int, posterior: str | None, out: Path | None, seed: int) -> None:
    """Draw images into an `.npz` file or a picture."""
    finished = runs.load(run)
    path = target(
        out or run / "samples.npz",
        (".npz", ".png"),
        {"the images of the run": runs.data(run)},
    )
    model = finished.model(posterior)
    generator = torch.Generator().manual_seed(seed)
    images = model.sample(count, generator).reshape(count, *finished.format.shape)
    with _files.replacing(path) as temporary:
        if path.suffix.lower() == ".png":
            page.sheet(images, model.levels).savefig(temporary, dpi=150, bbox_inches="tight")
        else:
            np.savez_compressed(temporary, images=_array(images, model.levels))
    terminal.say(f"{count} images: {path}")


def _array(images: Tensor, levels: int) -> NDArray[np.uint8]:
    """Return images, (count, channels, height, width), as they are kept in files."""
    whole = images.round().clamp(0, levels - 1)  # a Gaussian likelihood draws real numbers
    last = whole.to(torch.uint8).movedim(1, -1).numpy()
    return last[..., 0] if last.shape[-1] == 1 else last
