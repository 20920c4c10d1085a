"""Variational autoencoders with flow posteriors."""

from invflow.vae.base import Elbo, LatentModel
from invflow.vae.evaluation import Score, bits_per_dim, score
from invflow.vae.likelihood import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    DiscretisedLogistic,
    Gaussian,
    Likelihood,
    LogisticMixture,
    SharedLogistic,
)
from invflow.vae.model import VAE
from invflow.vae.normal import Normal
from invflow.vae.objective import Objective
from invflow.vae.posterior import POSTERIORS, posterior
from invflow.vae.prior import PRIORS, Prior, prior
from invflow.vae.resnet import ResNetVAE

__all__ = [
    "LIKELIHOODS",
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
    "posterior",
    "prior",
    "score",
]
