"""Variational autoencoders with flow posteriors."""

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
from invflow.vae.model import VAE, Elbo
from invflow.vae.posterior import POSTERIORS, posterior

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "VAE",
    "Bernoulli",
    "Categorical",
    "DiscretisedLogistic",
    "Elbo",
    "Gaussian",
    "Likelihood",
    "LogisticMixture",
    "SharedLogistic",
    "posterior",
]
