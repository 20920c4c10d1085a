"""A model from the settings of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from invflow import _checks
from invflow._random import seeded
from invflow.vae.config import Config, Format
from invflow.vae.likelihoods.choice import as_likelihood
from invflow.vae.models.base import LatentModel
from invflow.vae.models.vae import VAE
from invflow.vae.resnet import ResNetVAE


@dataclass(frozen=True)
class ResNetPosterior:
    """A posterior of the ResNet VAE's layers.

    Attributes:
        inference: "top-down" or "bottom-up".
        flow: whether there are IAF steps.
        linear: whether their networks are without hidden layers.
        map: their univariate map.
    """

    inference: str = "top-down"
    flow: bool = True
    linear: bool = False
    map: str = "affine"


#: The most weights of an mlp; training them takes 16 GB.
MOST = 10**9
#: Every posterior that can be named for a ResNet VAE (Kingma et al. 2016, table 4).
RESNET_POSTERIORS = {
    "bottom-up-diagonal": ResNetPosterior("bottom-up", flow=False),
    "bottom-up-iaf": ResNetPosterior("bottom-up"),
    "diagonal": ResNetPosterior(flow=False),
    "linear-iaf": ResNetPosterior(linear=True, map="additive"),
    "iaf": ResNetPosterior(),
    "iaf-location": ResNetPosterior(map="additive"),
}


def build(config: Config, format: Format) -> dict[str, LatentModel]:
    """Return untrained models of a run, by posterior, all of them from the same seed.

    Raises:
        ValueError: if a posterior is unknown, or an mlp would have more than `MOST` weights.
    """
    one = resnet_vae if config.network == "resnet-vae" else vae
    if config.network == "mlp":
        # The first layer of the encoder and the last of the decoder have nearly all there are.
        width = (config.hidden_features or (256,))[0]
        outputs = as_likelihood(format.likelihood, format.levels).outputs
        numbers = math.prod(format.shape) * width * (1 + outputs)
        if numbers > MOST:
            raise ValueError(
                f"an mlp for images of {format.shape} would have {numbers:,} weights; "
                "take another network, or smaller images"
            )
    models: dict[str, LatentModel] = {}
    for name in config.posteriors:
        with seeded(config.seed):
            models[name] = one(config, format, name)
        if config.precision == "64-true":
            models[name].double()
    return models


def vae(config: Config, format: Format, posterior: str) -> VAE:
    """Return an untrained VAE."""
    return VAE(
        format.shape,
        format.levels,
        format.likelihood,
        posterior,
        config.prior,
        config.network,
        config.latents,
        config.hidden_features,
        config.context,
        4 if config.flow_transforms is None else config.flow_transforms,
        (128,) if config.flow_hidden_features is None else config.flow_hidden_features,
        len(format.classes),
    )


def resnet_vae(config: Config, format: Format, posterior: str) -> ResNetVAE:
    """Return an untrained ResNet VAE.

    Raises:
        ValueError: if the posterior is unknown.
    """
    kind = RESNET_POSTERIORS[_checks.choice("posterior", posterior, RESNET_POSTERIORS)]
    hidden = (
        (config.feature_maps,)
        if config.flow_hidden_features is None
        else config.flow_hidden_features
    )
    steps = 1 if config.flow_transforms is None else config.flow_transforms
    return ResNetVAE(
        format.shape,
        format.levels,
        format.likelihood,
        config.depths,
        config.feature_maps,
        config.latent_maps,
        kind.inference,
        steps if kind.flow else 0,
        () if kind.linear else hidden,
        kind.map,
        len(format.classes),
    )
