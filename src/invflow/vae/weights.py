"""Models from the weights of a run, which are compared before anything large is made."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from invflow._sized import sized_by
from invflow.vae.base import LatentModel
from invflow.vae.build import build
from invflow.vae.config import Config, Format

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


def loaded(config: Config, format: Format, state: Mapping[str, Tensor]) -> dict[str, LatentModel]:
    """Return the models of a run, by posterior, in evaluation mode.

    Settings and images are compared with the weights before memory is taken for them.

    Args:
        config: the settings.
        format: of the images.
        state: the weights, each name behind that of the posterior and a dot.

    Raises:
        ValueError: the weights are not those of these models, or not all finite.
    """
    with sized_by(state, config.model_dump(include=SIZES)):
        models = build(config, format)
    expected = {
        f"{posterior}.{name}": tensor
        for posterior, model in models.items()
        for name, tensor in model.state_dict().items()
    }
    if different := sorted(expected.keys() ^ state.keys()):
        raise ValueError(f"the weights and the settings do not agree on {different[0]!r}")
    for name, tensor in expected.items():
        if (tensor.shape, tensor.dtype) != (state[name].shape, state[name].dtype):
            raise ValueError(
                f"the weights {name!r} must have shape {tuple(tensor.shape)} and {tensor.dtype}, "
                f"got {tuple(state[name].shape)} and {state[name].dtype}"
            )
        if tensor.is_floating_point() and not state[name].isfinite().all():
            raise ValueError(f"the weights {name!r} must be finite, got NaN or infinity")
    for posterior, model in models.items():
        prefix = f"{posterior}."
        model.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        model.eval()
    return models
