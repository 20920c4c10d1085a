"""Variational autoencoders with flow posteriors."""

from invflow.images.pixels import bits_per_dim
from invflow.vae.evaluation import Score, score
from invflow.vae.fitting import fit
from invflow.vae.likelihoods.levels import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    Likelihood,
    LogisticMixture,
    SharedLogistic,
)
from invflow.vae.likelihoods.normal import Normal
from invflow.vae.models.base import MODELS, Elbo, LatentModel
from invflow.vae.models.posterior import POSTERIORS, posterior
from invflow.vae.models.prior import PRIORS, Prior, prior
from invflow.vae.models.vae import VAE
from invflow.vae.objective import Objective
from invflow.vae.resnet import ResNetVAE

__all__ = [
    "LIKELIHOODS",
    "MODELS",
    "POSTERIORS",
    "PRIORS",
    "VAE",
    "Bernoulli",
    "Categorical",
    "DiscretisedLogistic",
    "Elbo",
    "Gaussian",
    "LatentModel",
    "Likelihood",
    "LogisticMixture",
    "Normal",
    "Objective",
    "Prior",
    "ResNetVAE",
    "Score",
    "SharedLogistic",
    "bits_per_dim",
    "fit",
    "posterior",
    "prior",
    "score",
]
