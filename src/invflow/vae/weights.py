"""Models from the weights of a run, whose sizes are compared before memory is taken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from invflow import _saving, _tensors
from invflow._pretrained import check_finite
from invflow._sized import check_fit, sized_by
from invflow.vae.build import build
from invflow.vae.config import Config, Format
from invflow.vae.models.base import LatentModel

#: The settings that are sizes of models.
SIZES = {
    "latents",
    "hidden_features",
    "context",
    "depths",
    "feature_maps",
    "latent_maps",
    "flow_transforms",
    "flow_hidden_features",
}


def loaded(config: Config, format: Format, path: Path) -> dict[str, LatentModel]:
    """Return the models of a run, by posterior, in evaluation mode.

    The settings are compared with the sizes of the weights before memory is taken for either.

    Args:
        config: the settings.
        format: of the images.
        path: of the weights, whose names begin with that of the posterior and a dot.

    Raises:
        FileNotFoundError: if there are no weights.
        OSError: if the file cannot be read, or does not fit into memory.
        ValueError: if the file is damaged, or the weights are not those of these models, or not all
            finite.
    """
    sizes = _tensors.header(path).sizes
    with _saving.fitting(path, "the settings of the run"):
        with sized_by(sizes, config.model_dump(include=SIZES)):
            models = build(config, format)
        _check(models, sizes)
    state, _ = _tensors.read(path)
    with _saving.fitting(path, "the settings of the run"):
        check_finite(state)
        for posterior, model in models.items():
            prefix = f"{posterior}."
            model.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
            model.eval()
    return models


def _check(models: Mapping[str, LatentModel], sizes: Mapping[str, Tensor]) -> None:
    """Check that weights have the names, shapes and dtypes of these models'."""
    expected = {
        f"{posterior}.{name}": tensor
        for posterior, model in models.items()
        for name, tensor in model.state_dict().items()
    }
    check_fit(expected, sizes)
    for name, tensor in expected.items():
        if tensor.dtype != sizes[name].dtype:
            raise ValueError(f"{name} must have {tensor.dtype}, got {sizes[name].dtype}")
