"""The variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow.flows import FlowDistribution, StandardNormal
from invflow.vae.likelihood import LIKELIHOODS
from invflow.vae.posterior import posterior as build_posterior


class Elbo(NamedTuple):
    """The evidence lower bound of each image in nats, and its two parts: bound = fit - kl."""

    bound: Tensor
    fit: Tensor
    kl: Tensor


class VAE(nn.Module):
    r"""A variational autoencoder whose approximate posterior is a flow.

    $$\log p(x) \ge E_{q(z|x)}\big[\log p(x|z) + \log p(z) - \log q(z|x)\big]$$

    The encoder, a perceptron, gives the flow's context; the prior is a standard normal; the
    decoder, a perceptron, gives the parameters of the likelihood of each pixel.

    Args:
        pixels: pixels per image.
        levels: grey levels, the values of pixels being 0 .. levels - 1.
        likelihood: one of `LIKELIHOODS`.
        posterior: one of `POSTERIORS`.
        latents: number of latent features.
        hidden: widths of the hidden layers of encoder and, reversed, decoder.
        context: size of the encoder's output.
        flow_steps: number of flow steps.
        flow_hidden: widths of the hidden layers of each step's network.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: a size out of range, or an unknown name.

    References:
        Kingma and Welling 2014, arXiv 1312.6114; Kingma et al. 2016, arXiv 1606.04934.

    Example:
        >>> import torch
        >>> vae = VAE(pixels=64, levels=17, posterior="iaf", latents=4)
        >>> images = torch.randint(17, (5, 64))
        >>> vae.elbo(vae.likelihood.observe(images)).bound.shape
        torch.Size([5])
        >>> vae.sample(3).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        pixels: int,
        levels: int,
        likelihood: str = "logistic",
        posterior: str = "iaf",
        latents: int = 16,
        hidden: Sequence[int] = (256, 256),
        context: int = 64,
        flow_steps: int = 4,
        flow_hidden: Sequence[int] = (128,),
    ) -> None:
        super().__init__()
        self.pixels = _checks.positive_integer("pixels", pixels)
        self.levels = _checks.positive_integer("levels", levels, minimum=2)
        self.likelihood = LIKELIHOODS[_checks.choice("likelihood", likelihood, LIKELIHOODS)](levels)
        latents = _checks.positive_integer("latents", latents)
        context = _checks.positive_integer("context", context)
        widths = _checks.widths("hidden", hidden)
        self.encoder = _perceptron([pixels, *widths, context])
        self.posterior = build_posterior(posterior, latents, context, flow_steps, flow_hidden)
        self.prior = StandardNormal(latents)
        self.decoder = _perceptron([latents, *widths[::-1], pixels * self.likelihood.outputs])

    def encode(self, x: Tensor) -> FlowDistribution:
        """Return the approximate posterior q(z|x) of observations `x`, (*batch, pixels)."""
        return self.posterior(self.encoder(self.likelihood.scaled(x)), validate_args=False)

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's parameters at latents `z`: (*batch, pixels, outputs)."""
        return self.decoder(z).unflatten(-1, (self.pixels, -1))

    def elbo(self, x: Tensor, generator: torch.Generator | None = None) -> Elbo:
        """Return the bound of observations `x`, (*batch, pixels), from one latent sample each.

        Raises:
            TypeError: integer images; `likelihood.observe` makes observations of them.
            ValueError: a wrong number of pixels.
        """
        return self._elbo(x, (), generator)

    forward = elbo

    def _elbo(
        self, x: Tensor, sample_shape: Sequence[int], generator: torch.Generator | None
    ) -> Elbo:
        _checks.event("x", x, self.pixels, next(self.encoder.parameters()))
        z, log_q = self.encode(x).rsample_and_log_prob(sample_shape, generator=generator)
        fit = self.likelihood.log_prob(x, self.decode(z))
        kl = log_q - self.prior.log_prob(z)
        return Elbo(fit - kl, fit, kl)

    def importance_bound(
        self, x: Tensor, samples: int = 8, generator: torch.Generator | None = None
    ) -> Tensor:
        r"""Return the importance-weighted bound of observations, to be trained by.

        $$\log \frac1S \sum_s w_s, \qquad w_s = p(x|z_s)\, p(z_s) / q(z_s|x)$$

        Its gradient in the posterior's parameters is the doubly reparameterised one,

        $$\sum_s \tilde w_s^2\, \nabla_z \log w_s\, \partial z_s / \partial\phi,$$

        with normalised weights, whose noise vanishes where the posterior is exact; for one sample
        it is that of the evidence lower bound along the path alone.

        Args:
            x: observations, (batch, pixels).
            samples: S.
            generator: random numbers; torch's own by default.

        Returns:
            Bounds in nats, shape (batch,).

        References:
            Burda et al. 2016, arXiv 1509.00519; Tucker et al. 2019, arXiv 1810.04152.
        """
        samples = _checks.positive_integer("samples", samples)
        _checks.event("x", x, self.pixels, next(self.encoder.parameters()))
        q = self.encode(x)
        z = q.rsample((samples,), generator=generator)
        point = z.detach().requires_grad_()
        with torch.enable_grad():
            log_q = q.log_prob(point)
            log_p = self.likelihood.log_prob(x, self.decode(point)) + self.prior.log_prob(point)
            (pull,) = torch.autograd.grad((log_p - log_q).sum(), point, retain_graph=True)
        log_w = (log_p - log_q).detach()
        shares = log_w.softmax(0)
        # Of these two the gradients count, not the values.
        decoder = (shares * log_p).sum(0)
        encoder = (shares.square().unsqueeze(-1) * pull * z).sum((0, -1))
        moving = decoder + encoder
        return log_w.logsumexp(0) - math.log(samples) + (moving - moving.detach())

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        samples: int = 128,
        generator: torch.Generator | None = None,
        *,
        chunk: int = 8192,
    ) -> Tensor:
        r"""Return the importance-sampled log-likelihood of observations, a lower bound on average.

        $$\log p(x) \approx \log \frac1S \sum_s p(x|z_s)\, p(z_s) / q(z_s|x)$$

        Args:
            x: observations, (batch, pixels).
            samples: S.
            generator: random numbers; torch's own by default.
            chunk: at most so many (image, sample) pairs in memory at once.

        Returns:
            Log-likelihoods in nats, shape (batch,).
        """
        samples = _checks.positive_integer("samples", samples)
        rows = max(1, chunk // samples)
        at_once = min(samples, chunk)
        results: list[Tensor] = []
        for images in x.split(rows):
            weights = [
                self._elbo(images, (min(at_once, samples - start),), generator).bound
                for start in range(0, samples, at_once)
            ]
            results.append(torch.cat(weights).logsumexp(0) - math.log(samples))
        return torch.cat(results)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Return `count` images drawn from the model, as grey levels, (count, pixels)."""
        return self.likelihood.sample(self.decode(self._draw(count, generator)), generator)

    def _draw(self, count: int, generator: torch.Generator | None) -> Tensor:
        like = next(self.parameters())
        return self.prior.rsample(
            (_checks.positive_integer("count", count),),
            dtype=like.dtype,
            device=like.device,
            generator=generator,
        )


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ELU()]
    return nn.Sequential(*layers[:-1])
