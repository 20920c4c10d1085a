"""Files of images that commands write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Largest number of classes side by side in a picture.
SIDE_BY_SIDE = 20


def write(path: Path, images: Any, levels: int, names: Sequence[str]) -> None:
    """Write images into a picture or an `.npz` file, whole or not at all.

    Args:
        path: with the suffix .png or .npz.
        images: levels, (count, channels, height, width).
        levels: number of levels.
        names: of the class of each image, in turn; empty if there are none.
    """
    import numpy as np
    import torch

    from invflow import _files
    from invflow.report import pictures

    classes = len({*names})
    with _files.replacing(path) as temporary:
        if path.suffix.lower() == ".png":
            columns = classes if 1 < classes <= SIDE_BY_SIDE else None
            sheet = pictures.sheet(images, levels, columns)
            sheet.savefig(temporary, dpi=150, bbox_inches="tight")
            return
        last = images.to(torch.uint8).movedim(1, -1).numpy()
        labels: dict[str, Any] = {"labels": np.array(names)} if names else {}
        pixels = last[..., 0] if last.shape[-1] == 1 else last
        np.savez_compressed(temporary, images=pixels, **labels)
