"""Noise that turns integer levels into real numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from invflow.flows import Flow
from invflow.transforms import Compose, Sigmoid


class Dequantisation(nn.Module, ABC):
    """A distribution of noise in the unit cube for each image, $q(r|x)$."""

    #: Number of pixels of the images; None for any.
    pixels: int | None = None

    @abstractmethod
    def draw(
        self, images: Tensor, samples: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return reparameterised noise for images, and its log density.

        Args:
            images: levels scaled to numbers from -1 to 1, (*batch, pixels).
            samples: number of draws for each image, K.
            generator: random numbers; torch's own by default.

        Returns:
            r, (K, *batch, pixels), and log q(r|x) in nats, (K, *batch).
        """


class Uniform(Dequantisation):
    """Uniform noise: $q(r|x) = 1$ (Theis et al. 2016, arXiv 1511.01844, section 3.1).

    Example:
        >>> import torch
        >>> r, log_q = Uniform().draw(torch.zeros(5, 4), samples=2)
        >>> r.shape, log_q.shape
        (torch.Size([2, 5, 4]), torch.Size([2, 5]))
    """

    def draw(
        self, images: Tensor, samples: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        shape = samples, *images.shape
        r = torch.rand(shape, dtype=images.dtype, device=images.device, generator=generator)
        return r, r.new_zeros(shape[:-1])


class Variational(Dequantisation):
    r"""A flow given the image, mapped to the unit cube: $r = \sigma(u),\ u \sim q(u|h(x))$.

    With a "logistic" base, an untrained flow is near the identity and r nearly uniform, so that
    training starts from about the bound of `Uniform`.

    Args:
        flow: over one feature for each pixel, with a context.
        encoder: h, which maps images scaled to numbers from -1 to 1, (*batch, pixels), to contexts,
            (*batch, context); by default the context is the scaled image itself.

    Raises:
        TypeError: if `flow` is not a flow, or `encoder` is not a module.
        ValueError: if the flow has no context or no reparameterised samples; without an encoder,
            if its context does not have the size of the image.

    References:
        Ho et al. 2019, arXiv 1902.00275, section 3.1.

    Example:
        >>> import torch, invflow
        >>> flow = invflow.IAF(features=4, context=4, transforms=2, base="logistic")
        >>> r, log_q = Variational(flow).draw(torch.zeros(5, 4), samples=2)
        >>> r.shape, log_q.shape
        (torch.Size([2, 5, 4]), torch.Size([2, 5]))
    """

    def __init__(self, flow: Flow, encoder: nn.Module | None = None) -> None:
        super().__init__()
        if not isinstance(flow, Flow):
            raise TypeError(f"flow must be a Flow, got {type(flow).__name__}")
        if encoder is not None and not isinstance(encoder, nn.Module):
            raise TypeError(f"encoder must be a module or None, got {type(encoder).__name__}")
        if not flow.context:
            raise ValueError("flow must have a context, which receives the image, got context=0")
        if not flow.base.has_rsample:
            raise ValueError(
                "flow must have a base with reparameterised samples, got "
                f"{type(flow.base).__name__}"
            )
        if encoder is None and flow.context != flow.features:
            raise ValueError(
                f"flow must have a context of {flow.features} for the image, or an encoder must be "
                f"given, got {flow.context}"
            )
        self.pixels = flow.features
        self.noise = Flow(Compose([flow.transform, Sigmoid(flow.features)]), flow.base)
        self.encoder = nn.Identity() if encoder is None else encoder

    def draw(
        self, images: Tensor, samples: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        q = self.noise(self.encoder(images))
        return q.rsample_and_log_prob((samples,), generator=generator)
