"""The variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from invflow.flows import Flow, FlowDistribution
from invflow.flows.path_gradient import path_bound
from invflow.vae import networks
from invflow.vae.likelihoods.levels import Likelihood
from invflow.vae.models.base import MODELS, Elbo, LatentModel
from invflow.vae.models.gaussian import kl_from_normal
from invflow.vae.models.posterior import posterior as build_posterior
from invflow.vae.models.prior import Normal, Prior, Vamp
from invflow.vae.models.prior import prior as build_prior
from invflow.vae.networks import custom


class VAE(LatentModel):
    r"""A variational autoencoder whose approximate posterior is a flow.

    $$\log p(x) \ge E_{q(z|x)}\big[\log p(x|z) + \log p(z) - \log q(z|x)\big]$$

    The encoder outputs the flow's context; the decoder outputs the parameters of the likelihood of
    each pixel. With a Gaussian posterior and a standard normal prior, the bound uses the KL
    divergence in closed form. All latents form one group.

    With `given` C > 0, the model is conditional on C numbers c for each image (Sohn et al. 2015):

    $$\log p(x|c) \ge E_{q(z|x,c)}\big[\log p(x|z,c) + \log p(z|c) - \log q(z|x,c)\big]$$

    The encoder and the decoder read c, and so does the posterior, in the encoder's output. Of the
    priors, "vamp" and "autoregressive" depend on c. "normal" does not, which costs nothing: a
    Gaussian with a mean and scales that depend on c is the same model, as the decoder can apply
    them, and the latents then hold what c does not say.

    Args:
        shape: channels, height and width of an image.
        levels: number of grey levels; pixels take values 0 .. levels - 1. 0 for real numbers.
        likelihood: one of `LIKELIHOODS`, "normal" for real numbers, or a `Likelihood`.
        posterior: one of `POSTERIORS`, or a `Flow` with a context.
        prior: one of `PRIORS`, or a `Prior`.
        network: one of `networks.NETWORKS`, or two modules: an encoder from images scaled to
            [-1, 1], or standardised real numbers, (n, pixels), to (n, context), and a decoder from
            (n, latents) to (n, pixels, outputs). Each takes c, (n, given), as a second argument if
            there is one. Modules are tried on two rows of zeros, in evaluation mode.
        latents: number of latent features.
        hidden_features: widths of the layers of an "mlp", feature maps of the other networks;
            None for the network's defaults.
        context: size of the encoder's output.
        flow_transforms: number of flow transforms in the posterior and in an autoregressive prior.
        flow_hidden_features: widths of the hidden layers of each transform's network.
        given: C, number of values on which the model is conditional; 0 for none.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size is out of range, or a name is unknown.

    References:
        Kingma and Welling 2014, arXiv 1312.6114; Kingma et al. 2016, arXiv 1606.04934; Sohn, Lee
        and Yan 2015, "Learning structured output representation using deep conditional generative
        models".

    Example:
        >>> import torch
        >>> vae = VAE(shape=(1, 8, 8), levels=17, posterior="iaf", latents=4)
        >>> images = torch.randint(17, (5, 64))
        >>> vae.elbo(vae.likelihood.observe(images)).bound.shape
        torch.Size([5])
        >>> vae.sample(3).shape
        torch.Size([3, 64])
        >>> vae = VAE(shape=(1, 8, 8), levels=17, latents=4, given=10)
        >>> vae.sample(3, given=vae.one_hot(torch.tensor([0, 7, 7]))).shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        shape: Sequence[int],
        levels: int,
        likelihood: str | Likelihood = "logistic",
        posterior: str | Flow = "iaf",
        prior: str | Prior = "normal",
        network: str | tuple[nn.Module, nn.Module] = "mlp",
        latents: int = 16,
        hidden_features: Sequence[int] | None = None,
        context: int = 64,
        flow_transforms: int = 4,
        flow_hidden_features: Sequence[int] = (128,),
        given: int = 0,
    ) -> None:
        super().__init__(shape, levels, likelihood, given)
        self.config = {
            "posterior": posterior if isinstance(posterior, str) else None,
            "prior": prior if isinstance(prior, str) else None,
            "network": network if isinstance(network, str) else None,
            "latents": latents,
            "hidden_features": hidden_features,
            "context": context,
            "flow_transforms": flow_transforms,
            "flow_hidden_features": flow_hidden_features,
            "given": given,
        }
        if isinstance(posterior, str):
            posterior = build_posterior(
                posterior, latents, context, flow_transforms, flow_hidden_features
            )
        if not isinstance(posterior, Flow):
            raise TypeError(f"posterior must be a name or a Flow, got {type(posterior).__name__}")
        if not posterior.context:
            raise ValueError(
                "posterior must have a context, which receives the encoder's output, got context=0"
            )
        if isinstance(prior, str):
            sizes = posterior.features, self.pixels, flow_transforms
            bounded = self.likelihood.bounded
            prior = build_prior(prior, *sizes, flow_hidden_features, self.given, bounded=bounded)
        if not isinstance(prior, Prior):
            raise TypeError(f"prior must be a name or a Prior, got {type(prior).__name__}")
        if prior.latents != posterior.features:
            raise ValueError(f"prior must have {posterior.features} latents, got {prior.latents}")
        if prior.given != self.given and (prior.given or isinstance(prior, Vamp)):
            raise ValueError(f"prior must have given={self.given}, as the VAE, got {prior.given}")
        if isinstance(network, str):
            ends = hidden_features, self.given
            sizes = self.likelihood.outputs, posterior.features, posterior.context
            encoder = networks.encoder(network, self.shape, posterior.context, *ends)
            decoder = networks.decoder(network, self.shape, *sizes, *ends)
        else:
            encoder, decoder = custom.pair(network)
        self.latents = posterior.features
        self.encoder = encoder
        self.posterior = posterior
        self.prior = prior
        self.decoder = decoder
        if not isinstance(network, str):
            self._check_networks()

    def _check_networks(self) -> None:
        """Try the user's own networks on zeros."""
        beside = f" and (n, {self.given})" if self.given else ""
        size, outputs = self.posterior.context, self.likelihood.outputs
        context = custom.tried(
            *("the encoder", self.encoder, (self.pixels, self.given)),
            f"take (n, {self.pixels}){beside} and return (n, {size}); to read images, let it begin "
            f"with nn.Unflatten(-1, {self.shape})",
        )
        self._context(context, custom.ROWS)
        params = custom.tried(
            *("the decoder", self.decoder, (self.latents, self.given)),
            f"take (n, {self.latents}){beside} and return (n, {self.pixels}, {outputs}): the "
            "parameters of the likelihood of each pixel",
        )
        self._params(params, custom.ROWS)

    @property
    def parts(self) -> Sequence[nn.Module]:
        return [self.encoder, self.decoder, self.posterior.transform]

    def encode(self, x: Tensor, given: Tensor | None = None) -> FlowDistribution:
        """Return the approximate posterior q(z|x) given observations `x`, (*batch, pixels).

        For a conditional model it is q(z|x, c), with `given` c, (*batch, C).
        """
        self._check(x)
        return self._encode(self.likelihood.scaled(x), self._given(given, x.shape[:-1]))

    def _encode(self, scaled: Tensor, given: Tensor | None) -> FlowDistribution:
        if self.config["network"] is None:
            custom.check_places(dict(self.named_children()))
        inputs = _rows(scaled, given)
        context = self._context(self.encoder(*inputs), len(inputs[0])).to(self.like.dtype)
        batch = scaled.shape[:-1]
        return self.posterior(context.reshape(*batch, self.posterior.context), validate_args=False)

    def _context(self, found: Tensor, rows: int) -> Tensor:
        size = self.posterior.context
        return custom.output(
            *("the encoder", found, (rows, size), "(n, context)"),
            f"build the posterior with the encoder's context, or let the last layer have {size} "
            "outputs",
        )

    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        self._check_latents(z)
        inputs = _rows(z, self._given(given, z.shape[:-1]))
        params = self._params(self.decoder(*inputs), len(inputs[0])).to(self.like.dtype)
        return params.reshape(*z.shape[:-1], self.pixels, self.likelihood.outputs)

    def _params(self, found: Tensor, rows: int) -> Tensor:
        shape = self.pixels, self.likelihood.outputs
        return custom.output(
            *("the decoder", found, (rows, *shape), "(n, pixels, outputs)"),
            f"let it end with nn.Unflatten(-1, {shape}), or for maps ordered by channel, then "
            f"output, with networks.ToPixels({self.shape[0]})",
        )

    def log_prior(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the prior's log density at latents, (*batch, latents), in nats, shape `batch`.

        For a conditional model it is log p(z|c), with `given` c, (*batch, C).
        """
        self._check_latents(z)
        c = self._given(given, z.shape[:-1])
        return self.prior.log_prob(z, self._encode, c if self.prior.given else None)

    def elbo(
        self, x: Tensor, generator: torch.Generator | None = None, given: Tensor | None = None
    ) -> Elbo:
        q = self.encode(x, given)
        z, log_q = q.rsample_and_log_prob(generator=generator)
        fit = self.likelihood.log_prob(x, self.decode(z, given))
        kl = kl_from_normal(q) if isinstance(self.prior, Normal) else None
        if kl is None:
            kl = log_q - self.log_prior(z, given)
        return Elbo(fit, kl.unsqueeze(-1))

    def draw(
        self,
        x: Tensor,
        samples: int,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        self._check_rows(x, samples)
        z, log_q = self.encode(x, given).rsample_and_log_prob((samples,), generator=generator)
        fit = self.likelihood.log_prob(x, self.decode(z, given))
        return z, fit + self.log_prior(z, given) - log_q

    def _posterior_mean(
        self,
        x: Tensor,
        counts: Sequence[int],
        generator: torch.Generator | None,
        given: Tensor | None,
    ) -> Tensor:
        q = self.encode(x, given)
        if (found := q.affine_map()) is not None:
            return found.shift
        sums = [q.sample((count,), generator=generator).sum(0) for count in counts]
        return torch.stack(sums).sum(0) / sum(counts)

    def draw_prior(
        self, count: int, generator: torch.Generator | None = None, given: Tensor | None = None
    ) -> Tensor:
        c = self._given(given, torch.Size([count]))
        c = c if self.prior.given else None
        return self.prior.sample(count, self._encode, self.like, generator, c)

    def importance_bound(
        self,
        x: Tensor,
        samples: int = 8,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        r"""Return the importance-weighted bound of observations, differentiable for training.

        $$\log \frac1S \sum_s w_s, \qquad w_s = p(x|z_s)\, p(z_s) / q(z_s|x)$$

        The gradient with respect to the posterior's parameters is doubly reparameterised:

        $$\sum_s \tilde w_s^2\, \nabla_z \log w_s\, \partial z_s / \partial\phi$$

        with normalised weights (`invflow.flows.path_gradient`). Its noise vanishes where the
        posterior is exact; for one sample it is the path gradient of the evidence lower bound.

        Args:
            x: observations, (batch, pixels).
            samples: S.
            generator: random numbers; torch's own by default.
            given: what a conditional model depends on, (batch, C).

        Returns:
            Bounds in nats, shape (batch,).

        References:
            Tucker et al. 2019, arXiv 1810.04152.
        """
        self._check_rows(x, samples)
        q = self.encode(x, given)
        z, log_q, score_q = q.rsample_and_score((samples,), generator=generator)
        point = z.detach().requires_grad_()
        with torch.enable_grad():
            fit = self.likelihood.log_prob(x, self.decode(point, given))
            log_p = fit + self.log_prior(point, given)
            (score_p,) = torch.autograd.grad(log_p.sum(), point, retain_graph=True)
        log_w = (log_p - log_q).detach()
        # Its value is not used, only its gradient: that of the bound in the decoder.
        decoder = (log_w.softmax(0) * log_p).sum(0)
        return path_bound(z, log_w, score_p - score_q) + (decoder - decoder.detach())


def _rows(values: Tensor, given: Tensor | None) -> list[Tensor]:
    """Return what a network takes, each with one batch dimension: values, and what is given."""
    taken = [values] if given is None else [values, given]
    return [each.reshape(-1, each.shape[-1]) for each in taken]


MODELS["vae"] = VAE
