"""The base class of models of images with latents."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks
from invflow._modes import evaluating
from invflow._registry import Registry
from invflow.vae.likelihoods.choice import as_likelihood
from invflow.vae.likelihoods.levels import Likelihood
from invflow.vae.models import pretrained

#: Limits of a chunk: its (image, sample) pairs, and the numbers that all layers hold for them.
MAX_PAIRS, MAX_NUMBERS = 2048, 2**26


class Elbo(NamedTuple):
    """The two parts of the evidence lower bound of each image, in nats.

    Attributes:
        fit: log-likelihood of the image given its latents (minus the distortion), shape `batch`.
        kls: KL divergence of the posterior from the prior in each group of latents, shape
            (*batch, groups).
    """

    fit: Tensor
    kls: Tensor

    @property
    def kl(self) -> Tensor:
        """The total KL divergence (the rate), shape `batch`."""
        return self.kls.sum(-1)

    @property
    def bound(self) -> Tensor:
        """The evidence lower bound, fit - kl, shape `batch`."""
        return self.fit - self.kl


class LatentModel(nn.Module, ABC):
    r"""A model of images x with latents z, $p(x|z)\, p(z)$, and an approximate posterior $q(z|x)$.

    Images are flattened to vectors of pixels, channel by channel. Observations are what
    `likelihood.observe` returns for grey levels. A conditional model, with `given` C > 0, has
    $p(x|z, c)\, p(z|c)$ and $q(z|x, c)$ with C numbers c for each image, such as its class as
    `one_hot` returns it: its methods take them as `given`, (*batch, C), which broadcasts against
    the batch.

    Args:
        shape: channels, height and width of an image.
        levels: number of grey levels; pixels take values 0 .. levels - 1. 0 for real numbers.
        likelihood: the likelihood of the pixels, by name or as an object.
        given: C, number of values on which everything is conditional; 0 for none.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the shape is not three sizes, the name is unknown, or the likelihood has
            another number of levels.
    """

    #: Number of latent features of an image.
    latents: int
    #: The arguments that rebuild the model; None for those that were objects.
    config: dict[str, Any]

    def __init__(
        self, shape: Sequence[int], levels: int, likelihood: str | Likelihood, given: int = 0
    ) -> None:
        super().__init__()
        self.shape = _checks.shape("shape", shape)
        self.given = _checks.positive_integer("given", given, minimum=0)
        self.likelihood = as_likelihood(likelihood, levels, self.shape)

    @property
    def pixels(self) -> int:
        """Numbers per image: channels times height times width."""
        return math.prod(self.shape)

    @property
    def levels(self) -> int:
        """Number of grey levels; 0 for real numbers."""
        return self.likelihood.levels

    @abstractmethod
    def elbo(
        self, x: Tensor, generator: torch.Generator | None = None, given: Tensor | None = None
    ) -> Elbo:
        """Return the parts of the bound for observations `x`, from one draw of the latents each.

        This is the training objective, so the model keeps its mode, training or evaluation.

        Args:
            x: observations, (*batch, pixels).
            generator: random numbers; torch's own by default.
            given: what a conditional model depends on, (*batch, C).

        Raises:
            TypeError: if `x` or `given` holds integers; `observe` turns levels into observations,
                and `one_hot` labels into what is given.
            ValueError: if the number of pixels is wrong, or `given` is missing, not wanted, or of
                the wrong size.
        """

    @abstractmethod
    def draw(
        self,
        x: Tensor,
        samples: int,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        r"""Return posterior draws of the latents of observations, and their log-weights.

        $$z \sim q(z|x), \qquad \log w = \log p(x|z) + \log p(z) - \log q(z|x)$$

        Args:
            x: observations, (batch, pixels).
            samples: number of draws per observation.
            generator: random numbers; torch's own by default.
            given: what a conditional model depends on, (batch, C).

        Returns:
            z, (samples, batch, latents), and log w in nats, (samples, batch).
        """

    @abstractmethod
    def importance_bound(
        self,
        x: Tensor,
        samples: int = 8,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        r"""Return the importance-weighted bound of observations, differentiable for training.

        $$\log \frac1S \sum_s w_s, \qquad w_s = p(x|z_s)\, p(z_s) / q(z_s|x)$$

        Args:
            x: observations, (batch, pixels).
            samples: S.
            generator: random numbers; torch's own by default.
            given: what a conditional model depends on, (batch, C).

        Returns:
            Bounds in nats, shape (batch,).

        References:
            Burda et al. 2016, arXiv 1509.00519.
        """

    @abstractmethod
    def decode(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the parameters of the likelihood at latents, (*batch, pixels, outputs).

        Args:
            z: latents, (*batch, latents).
            given: what a conditional model depends on, (*batch, C).

        Raises:
            TypeError: if `z` or `given` is not a tensor of the model's dtype.
            ValueError: if the number of latents is wrong, or `given` is missing, not wanted, or of
                the wrong size.
        """

    @abstractmethod
    def draw_prior(
        self, count: int, generator: torch.Generator | None = None, given: Tensor | None = None
    ) -> Tensor:
        """Return `count` draws of the latents from the prior, (count, latents).

        A conditional model takes `given`, (count, C), or (C,) for all draws.
        """

    def forward(
        self, x: Tensor, generator: torch.Generator | None = None, given: Tensor | None = None
    ) -> Elbo:
        """Return `elbo`."""
        return self.elbo(x, generator, given)

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        samples: int = 128,
        generator: torch.Generator | None = None,
        *,
        chunk: int | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        r"""Return the importance-sampled log-likelihood of observations, a lower bound on average.

        $$\log p(x) \approx \log \frac1S \sum_s p(x|z_s)\, p(z_s) / q(z_s|x)$$

        Runs the model in evaluation mode, and restores its mode afterwards.

        Args:
            x: observations, (batch, pixels).
            samples: S.
            generator: random numbers; torch's own by default.
            chunk: largest number of (image, sample) pairs in memory at once; None for `at_once`.
            given: what a conditional model depends on, (batch, C); the result is then log p(x|c).

        Returns:
            Log-likelihoods in nats, shape (batch,).
        """
        parts = self.log_weights(x, samples, generator, chunk=chunk, given=given)
        return torch.cat([part.logsumexp(0) - math.log(samples) for part in parts])

    @torch.no_grad()
    def log_weights(
        self,
        x: Tensor,
        samples: int,
        generator: torch.Generator | None = None,
        *,
        chunk: int | None = None,
        given: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yield the log-weights of `draw` for some observations after the other.

        Runs the model in evaluation mode, and restores its mode afterwards.

        Args:
            x: observations, (batch, pixels).
            samples: number of draws per observation.
            generator: random numbers; torch's own by default.
            chunk: largest number of (image, sample) pairs in memory at once; None for `at_once`.
            given: what a conditional model depends on, (batch, C).

        Yields:
            Log-weights in nats, (samples, part of the batch).
        """
        self._check_rows(x, samples)
        chunk = self.at_once if chunk is None else _checks.positive_integer("chunk", chunk)
        at_once = min(samples, chunk)
        for images, c in self.pieces(x, given, max(1, chunk // samples)):
            with evaluating(self):
                weights = [
                    self.draw(images, min(at_once, samples - start), generator, c)[1]
                    for start in range(0, samples, at_once)
                ]
            yield torch.cat(weights)

    @torch.no_grad()
    def sample(
        self, count: int, generator: torch.Generator | None = None, given: Tensor | None = None
    ) -> Tensor:
        """Return `count` images drawn from the model, as grey levels, (count, pixels).

        Runs the model in evaluation mode, and restores its mode afterwards.

        Args:
            count: number of images.
            generator: random numbers; torch's own by default.
            given: what a conditional model depends on, (count, C), or (C,) for all images.
        """
        count = _checks.positive_integer("count", count)
        with evaluating(self):
            pieces = self.pieces(self.like.new_empty(count, 0), given, self.at_once)
            return torch.cat([self._sample(len(part), generator, c) for part, c in pieces])

    def _sample(
        self, count: int, generator: torch.Generator | None, given: Tensor | None
    ) -> Tensor:
        z = self.draw_prior(count, generator, given)
        return self.likelihood.sample(self.decode(z, given), generator)

    def one_hot(self, labels: Tensor) -> Tensor:
        """Return labels as what a conditional model is given, (*batch, C): 1 at the label, else 0.

        Args:
            labels: integers 0 .. C - 1, any shape.

        Returns:
            Zeros and ones in the model's dtype and on its device.

        Raises:
            TypeError: if labels are not a tensor of integers.
            ValueError: if the model is not conditional, or a label is out of range.

        Example:
            >>> from invflow.vae import VAE
            >>> VAE((1, 8, 8), levels=17, given=3).one_hot(torch.tensor([0, 2]))
            tensor([[1., 0., 0.],
                    [0., 0., 1.]])
        """
        if not self.given:
            raise ValueError("labels are for a conditional model; build it with given=CLASSES")
        if not isinstance(labels, Tensor) or labels.is_floating_point():
            got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
            raise TypeError(f"labels must be a tensor of integers, got {got}")
        if labels.numel():
            low, high = (int(end) for end in labels.aminmax())
            if low < 0 or high >= self.given:
                raise ValueError(f"labels must lie in 0 .. {self.given - 1}, got {low} to {high}")
        return F.one_hot(labels.long(), self.given).to(self.like)

    def pieces(
        self, rows: Tensor, given: Tensor | None, size: int
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Return at most `size` rows at a time, each part with what is given for its rows.

        Args:
            rows: shape (batch, ...).
            given: what a conditional model depends on; broadcasts to (batch, C).
            size: largest number of rows in a part.
        """
        parts = rows.split(size)
        c = self._given(given, rows.shape[:1])
        return list(zip(parts, [None] * len(parts) if c is None else c.split(size), strict=True))

    @cached_property
    def at_once(self) -> int:
        """Number of draws in one chunk: those that fit in half a gigabyte, at most 2048."""
        numbers = 0

        def count(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal numbers
            numbers += output.numel() if isinstance(output, Tensor) else 0

        leaves = [module for module in self.modules() if not any(module.children())]
        hooks = [leaf.register_forward_hook(count) for leaf in leaves]
        like = self.like
        try:
            with torch.no_grad(), evaluating(self):
                self.draw(
                    like.new_zeros(1, self.pixels),
                    1,
                    torch.Generator(like.device).manual_seed(0),
                    like.new_zeros(1, self.given) if self.given else None,
                )
        finally:
            for hook in hooks:
                hook.remove()
        # The likelihood keeps several numbers per output, which may be more than the layers do.
        numbers = max(numbers, 6 * self.pixels * self.likelihood.outputs)
        return max(1, min(MAX_PAIRS, MAX_NUMBERS // numbers))

    def observe(self, levels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the observations for grey levels, in the model's dtype and on its device.

        Warns of real numbers that are out of the range of the training data (see `Normal`).

        Args:
            levels: grey levels, integers, (*batch, pixels) or (*batch, *shape); or real numbers.
            generator: random numbers for binarisation; torch's own by default.

        Returns:
            Observations, (*batch, pixels).

        Raises:
            TypeError: if levels are not a tensor of integers, or of real numbers.
            ValueError: if levels are out of range, or the number of pixels is wrong.
        """
        if isinstance(levels, Tensor):
            if levels.shape[-1:] != (self.pixels,) and levels.shape[-3:] == self.shape:
                levels = levels.flatten(-3)
            if levels.shape[-1:] != (self.pixels,):
                raise ValueError(
                    f"levels must have shape (*batch, {self.pixels}) or (*batch, *{self.shape}), "
                    f"got {tuple(levels.shape)}"
                )
            levels = levels.to(self.like.device)
        self.likelihood.check(levels)
        return self.likelihood.observe(levels, generator).to(self.like.dtype)

    @torch.no_grad()
    def embed(
        self,
        x: Tensor,
        samples: int = 64,
        generator: torch.Generator | None = None,
        *,
        chunk: int | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        r"""Return the posterior means of the latents of observations, $E_{q(z|x)}[z]$.

        In closed form for the Gaussian posteriors of a `VAE`, "diagonal" and "full"; otherwise the
        mean of draws. Runs the model in evaluation mode, and restores its mode afterwards.

        Args:
            x: observations, (batch, pixels).
            samples: number of draws per observation where there is no closed form.
            generator: random numbers; torch's own by default.
            chunk: largest number of (image, sample) pairs in memory at once; None for `at_once`.
            given: what a conditional model depends on, (batch, C).

        Returns:
            Means, (batch, latents).

        Raises:
            TypeError: if the dtype of `x` is not the model's, or a count is not an integer.
            ValueError: if `x` has another shape, or a count is below 1.
        """
        self._check_rows(x, samples)
        chunk = self.at_once if chunk is None else _checks.positive_integer("chunk", chunk)
        counts = [min(chunk, samples - start) for start in range(0, samples, chunk)]
        with evaluating(self):
            parts = self.pieces(x, given, max(1, chunk // samples))
            return torch.cat(
                [self._posterior_mean(part, counts, generator, c) for part, c in parts]
            )

    def _posterior_mean(
        self,
        x: Tensor,
        counts: Sequence[int],
        generator: torch.Generator | None,
        given: Tensor | None,
    ) -> Tensor:
        """Return the means of sum(counts) draws for each observation, `counts` of them at once."""
        sums = [self.draw(x, count, generator, given)[0].sum(0) for count in counts]
        return torch.stack(sums).sum(0) / sum(counts)

    @torch.no_grad()
    def expected(self, z: Tensor, given: Tensor | None = None) -> Tensor:
        r"""Return the expected images at latents, $E_{p(x|z)}[x]$, in grey levels, not rounded.

        Real numbers are in their own units. Runs the model in evaluation mode, and restores its
        mode afterwards.

        Args:
            z: latents, (*batch, latents).
            given: what a conditional model depends on, (*batch, C).

        Returns:
            Grey levels, (*batch, pixels).

        Raises:
            TypeError: if `z` is not a tensor of the model's dtype.
            ValueError: if the number of latents is wrong.
        """
        self._check_latents(z)
        # The mean of grey levels may take the probability of each.
        numbers = self.pixels * max(1, self.levels)
        size = max(1, min(self.at_once, MAX_NUMBERS // numbers))
        c = self._given(given, z.shape[:-1])
        c = None if c is None else c.reshape(-1, self.given)
        parts = self.pieces(z.reshape(-1, self.latents), c, size)
        with evaluating(self):
            means = torch.cat([self.likelihood.mean(self.decode(*part)) for part in parts])
        return means.reshape(*z.shape[:-1], self.pixels)

    def reconstruct(
        self, x: Tensor, generator: torch.Generator | None = None, given: Tensor | None = None
    ) -> Tensor:
        """Return the expected image at one posterior draw of the latents of each observation.

        Runs the model in evaluation mode, and restores its mode afterwards. For the image at the
        posterior mean, which may be unlikely where the posterior is curved, take
        `expected(embed(x))`.

        Args:
            x: observations, (batch, pixels).
            generator: random numbers; torch's own by default.
            given: what a conditional model depends on, (batch, C).

        Returns:
            Grey levels, not rounded, (batch, pixels).

        Raises:
            TypeError: if the dtype of `x` is not the model's.
            ValueError: if `x` has another shape.

        Example:
            >>> from invflow.vae import VAE
            >>> vae = VAE(shape=(1, 8, 8), levels=17, latents=4)
            >>> x = vae.observe(torch.randint(17, (5, 64)))
            >>> vae.embed(x).shape, vae.reconstruct(x).shape
            (torch.Size([5, 4]), torch.Size([5, 64]))
            >>> vae.interpolate(x[:2], x[2:4], steps=7).shape
            torch.Size([2, 7, 64])
        """
        return self.expected(self._one_draw(x, generator, given), given)

    def interpolate(
        self,
        first: Tensor,
        second: Tensor,
        steps: int = 11,
        generator: torch.Generator | None = None,
        given: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return the expected images on straight lines between pairs of observations.

        A line joins one posterior draw of the latents of each of the two, so that its ends are
        their reconstructions. Runs the model in evaluation mode, and restores its mode afterwards.

        Args:
            first: observations, (batch, pixels).
            second: observations, of the same shape.
            steps: number of images on each line, with both ends.
            generator: random numbers; torch's own by default.
            given: what a conditional model depends on, for the first and for the second
                observations, each (batch, C); it also changes along the line.

        Returns:
            Grey levels, not rounded, (batch, steps, pixels).

        Raises:
            TypeError: if the dtype of an observation is not the model's, `steps` is not an integer,
                or `given` is not a tuple of two.
            ValueError: if an argument has another shape, or `steps` is below 2.
        """
        steps = _checks.positive_integer("steps", steps, minimum=2)
        self._check_rows(first, 1, "first")
        self._check_rows(second, 1, "second")
        if first.shape != second.shape:
            raise ValueError(
                "first and second must hold the same number of observations, "
                f"got {len(first)} and {len(second)}"
            )
        ends = (None, None) if given is None else given
        # The rows of a tensor would pass for the two ends.
        if not isinstance(ends, tuple) or len(ends) != 2:
            raise TypeError(
                "given must be two tensors in a tuple, for the first and for the second "
                f"observations, got a {type(ends).__name__} of length {len(ends)}; where both are "
                "the same, give (given, given)"
            )
        c = [self._given(each, first.shape[:1]) for each in ends]
        start = self._one_draw(first, generator, c[0])
        end = self._one_draw(second, generator, c[1])
        weight = torch.linspace(0, 1, steps).to(start)[:, None]
        z = torch.lerp(start[:, None], end[:, None], weight)
        if c[0] is None or c[1] is None:
            return self.expected(z)
        return self.expected(z, torch.lerp(c[0][:, None], c[1][:, None], weight))

    @torch.no_grad()
    def _one_draw(
        self, x: Tensor, generator: torch.Generator | None, given: Tensor | None
    ) -> Tensor:
        self._check_rows(x, 1)
        with evaluating(self):
            parts = self.pieces(x, given, self.at_once)
            return torch.cat([self.draw(part, 1, generator, c)[0].squeeze(0) for part, c in parts])

    def save_pretrained(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a directory.

        Each file appears whole or not at all, and `config.json` records the sha256 of the other.

        Args:
            directory: created if it does not exist.

        Raises:
            OSError: if the disk is full, or a file cannot be written.
            TypeError: if the model has several precisions.
            ValueError: if a part was given as an object that has no name, or has been changed since
                the model was built.
        """
        arguments = {"shape": self.shape, "levels": self.levels, **self.config}
        pretrained.save(self, arguments, Path(directory), MODELS)

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, device: str | torch.device = "cpu") -> Self:
        """Return the model that `save_pretrained` wrote, in evaluation mode.

        Loading never runs code from the files.

        Args:
            directory: where it was saved.
            device: where to put it.

        Raises:
            FileNotFoundError: if a file is missing.
            OSError: if a file cannot be read, or does not fit into memory.
            ValueError: if a file is damaged, foreign or newer than this version, if the files were
                not saved together, or if they hold another kind of model than this class.
        """
        return pretrained.load(cls, Path(directory), device, MODELS)

    @property
    @abstractmethod
    def parts(self) -> Sequence[nn.Module]:
        """The modules to compile: those that use no random numbers."""

    @property
    def like(self) -> Tensor:
        """A parameter, for its dtype and device."""
        return next(self.parameters())

    def _check(self, x: Tensor, name: str = "x") -> None:
        if isinstance(x, Tensor) and not x.is_floating_point():
            raise TypeError(
                f"{name} must hold observations, which are real numbers, got {x.dtype}; "
                "observe turns grey levels into them"
            )
        _checks.event(name, x, self.pixels, self.like)

    def _check_rows(self, x: Tensor, samples: int, name: str = "x") -> None:
        self._check(x, name)
        if x.dim() != 2:
            raise ValueError(f"{name} must have shape (batch, {self.pixels}), got {tuple(x.shape)}")
        _checks.positive_integer("samples", samples)

    def _given(self, given: Tensor | None, batch: torch.Size) -> Tensor | None:
        """Return what is given for each element of a batch; None if the model is unconditional."""
        if self.given and given is None:
            raise ValueError(
                f"given of shape (*batch, {self.given}) is required, got None; "
                "pass given=c by name, for labels given=model.one_hot(labels)"
            )
        if self.given and isinstance(given, Tensor) and not given.is_floating_point():
            raise TypeError(
                f"given must hold real numbers, got {given.dtype}; one_hot turns labels into them"
            )
        _checks.context(given, self.given, batch, self.like, "given")
        return None if given is None else given.expand(*batch, self.given)

    def _check_latents(self, z: Tensor) -> None:
        _checks.event("z", z, self.latents, self.like)


#: Every model that can be saved, by name.
MODELS = Registry[type[LatentModel]]("name", "invflow.vae.MODELS", LatentModel)
