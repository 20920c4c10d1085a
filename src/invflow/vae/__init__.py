"""Variational autoencoders with flow posteriors."""

from invflow.vae.likelihood import LIKELIHOODS, Bernoulli, DiscretisedLogistic, Likelihood
from invflow.vae.model import VAE, Elbo
from invflow.vae.posterior import POSTERIORS, posterior

__all__ = [
    "LIKELIHOODS",
    "POSTERIORS",
    "VAE",
    "Bernoulli",
    "DiscretisedLogistic",
    "Elbo",
    "Likelihood",
    "posterior",
]
