"""Encoders and decoders of variational autoencoders by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from invflow import _checks
from invflow.vae.networks import gated, perceptron, resnet
from invflow.vae.networks.maps import Shape
from invflow.vae.networks.weightnorm import starting

__all__ = ["NETWORKS", "Network", "decoder", "encoder", "starting"]


@dataclass(frozen=True)
class Network:
    """An encoder and the decoder that goes with it.

    Args:
        encoder: takes the shape of images, the size of the context and the hidden layers.
        decoder: takes that shape, outputs per pixel, latents, the context and the hidden layers.
        hidden: the hidden layers where none are given.
    """

    encoder: Callable[[Shape, int, Sequence[int]], nn.Module]
    decoder: Callable[[Shape, int, int, int, Sequence[int]], nn.Module]
    hidden: tuple[int, ...]


#: Every network that can be named.
NETWORKS: dict[str, Network] = {
    "mlp": Network(perceptron.encoder, perceptron.decoder, (256, 256)),
    "gated": Network(gated.encoder, gated.decoder, (32, 32, 64, 64, 64)),
    "resnet": Network(resnet.encoder, resnet.decoder, (16, 32, 32)),
}


def encoder(
    name: str, shape: Sequence[int], context: int, hidden: Sequence[int] | None = None
) -> nn.Module:
    """Return what maps images, flattened and scaled to [-1, 1], to what a posterior depends on.

    It takes (batch, channels * height * width), with exactly one batch dimension, to
    (batch, context). Weight-normalised layers are made to start by `starting`.

    Args:
        name: one of `NETWORKS`.
        shape: of the images: channels, height, width.
        context: how many numbers it gives.
        hidden: widths of the hidden layers of "mlp"; maps of the layers of "gated", every second of
            which halves height and width; maps of the halving blocks of "resnet". By default
            (256, 256), (32, 32, 64, 64, 64) and (16, 32, 32).

    Raises:
        TypeError: a size that is no integer.
        ValueError: an unknown name, a size out of range, or no maps where there must be some.

    References:
        Kingma et al. 2016, arXiv 1606.04934, appendix B, whose MNIST network is "resnet" with a
        context of 450; van den Berg et al. 2018, arXiv 1803.05649, for "gated", with one of 256.

    Example:
        >>> import torch
        >>> encoder("resnet", (1, 28, 28), context=450)(torch.rand(5, 784) * 2 - 1).shape
        torch.Size([5, 450])
    """
    network = NETWORKS[_checks.choice("network", name, NETWORKS)]
    context = _checks.positive_integer("context", context)
    return network.encoder(_checks.shape("shape", shape), context, _hidden(name, hidden))


def decoder(
    name: str,
    shape: Sequence[int],
    outputs: int,
    latents: int,
    context: int,
    hidden: Sequence[int] | None = None,
) -> nn.Module:
    """Return what maps latents to the parameters of a likelihood, which start small.

    It takes (batch, latents), with exactly one batch dimension, to
    (batch, channels * height * width, outputs), the pixels being flattened channel by channel.

    Args:
        name: one of `NETWORKS`.
        shape: of the images: channels, height, width.
        outputs: how many numbers it gives per pixel.
        latents: how many numbers it takes.
        context: that of the encoder, of which "resnet" takes the width of its first layer.
        hidden: that of the encoder, of which the decoder is the mirror image.

    Raises:
        TypeError: a size that is no integer.
        ValueError: an unknown name, a size out of range, or no maps where there must be some.

    Example:
        >>> import torch
        >>> network = decoder("gated", (3, 7, 5), outputs=2, latents=4, context=8, hidden=(6, 6))
        >>> network(torch.randn(9, 4)).shape
        torch.Size([9, 105, 2])
    """
    network = NETWORKS[_checks.choice("network", name, NETWORKS)]
    outputs = _checks.positive_integer("outputs", outputs)
    latents = _checks.positive_integer("latents", latents)
    context = _checks.positive_integer("context", context)
    return network.decoder(
        _checks.shape("shape", shape), outputs, latents, context, _hidden(name, hidden)
    )


def _hidden(name: str, value: Any) -> tuple[int, ...]:
    if value is None:
        return NETWORKS[name].hidden
    hidden = _checks.widths("hidden", value)
    if not hidden and name != "mlp":
        raise ValueError(f"hidden must hold at least one number of maps for {name!r}, got ()")
    return hidden
