"""VAEs with linear networks, whose likelihood can be solved."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from invflow.vae import VAE, DiscretisedLogistic
from invflow.vae.models.prior import Prior
from tests.helpers import perturbed


class NormalPixels(DiscretisedLogistic):
    """Pixels that are normal around the decoder's first output, with standard deviation 1/2."""

    def log_prob(self, x: Tensor, params: Tensor) -> Tensor:
        return Normal(params[..., 0], 0.5).log_prob(x).sum(-1)


def linear_vae(
    posterior: str,
    prior: str | Prior = "normal",
    latents: int = 2,
    flow_transforms: int = 2,
    scale: float = 0.2,
) -> VAE:
    """Return a VAE of images of five pixels, its parameters perturbed by `scale`, in float64."""
    torch.manual_seed(0)
    vae = VAE(
        (1, 1, 5),
        17,
        NormalPixels(17),
        posterior,
        prior,
        latents=latents,
        hidden_features=(),
        context=3,
        flow_transforms=flow_transforms,
        flow_hidden_features=(8,),
    )
    return perturbed(vae, scale=scale)


def decoder(vae: VAE) -> tuple[Tensor, Tensor]:
    """Return the matrix W and the bias of the pixels' means."""
    layer = vae.decoder[0]
    return layer.weight[::2], layer.bias[::2]


def exact(vae: VAE, x: Tensor) -> Tensor:
    """Return log p(x) under a standard normal prior: normal, with covariance W W' + I/4."""
    weight, bias = decoder(vae)
    covariance = weight @ weight.T + 0.25 * torch.eye(5, dtype=torch.float64)
    return MultivariateNormal(bias, covariance).log_prob(x)
