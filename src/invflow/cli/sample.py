"""`invflow sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from invflow import _files, report
from invflow.cli import terminal
from invflow.vae import run as runs


def command(
    run: Annotated[Path, typer.Argument(help="Directory of a finished run.", metavar="RUN")],
    count: Annotated[int, typer.Option("--count", "-n", help="How many images.", min=1)] = 64,
    posterior: Annotated[
        str | None, typer.Option(help="Which of the run's models.", show_default="the last")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="An .npz file, or a .png picture.", metavar="FILE", show_default="RUN/samples.npz"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random numbers.", min=0, max=2**63 - 1)] = 0,
) -> None:
    """Draw images from a trained model.

    An .npz file gets them as `images`, levels (count, height, width), or with colours (count,
    height, width, 3), which is what `invflow vae` and `invflow score` read.
    """
    path = out or run / "samples.npz"
    if path.suffix not in (".npz", ".png"):
        raise ValueError(f"--out must end in .npz or .png, got {path}")
    finished = runs.load(run)
    model = finished.model(posterior)
    generator = torch.Generator().manual_seed(seed)
    images = model.sample(count, generator).reshape(count, *finished.format.shape)
    with _files.replacing(path) as temporary:
        if path.suffix == ".png":
            report.sheet(images, model.levels).savefig(temporary, dpi=150, bbox_inches="tight")
        else:
            np.savez_compressed(temporary, images=_array(images, model.levels))
    terminal.say(f"{count} images: {path}")


def _array(images: Tensor, levels: int) -> NDArray[np.uint8]:
    """Return images, (count, channels, height, width), as they are kept in files."""
    whole = images.round().clamp(0, levels - 1)  # a Gaussian likelihood draws real numbers
    last = whole.to(torch.uint8).movedim(1, -1).numpy()
    return last[..., 0] if last.shape[-1] == 1 else last
