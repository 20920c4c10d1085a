"""Encoders and decoders of variational autoencoders by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from invflow import _checks
from invflow.vae.networks import gated, perceptron, resnet
from invflow.vae.networks.joined import Joined, as_features, as_maps
from invflow.vae.networks.maps import Shape, ToPixels
from invflow.vae.networks.weightnorm import starting

__all__ = ["NETWORKS", "Network", "ToPixels", "decoder", "encoder", "starting"]


@dataclass(frozen=True)
class Network:
    """An encoder and its decoder.

    Args:
        encoder: takes the image shape, the size of the context and the hidden layers.
        beside: how the encoder of a conditional VAE reads what is given beside the image.
        decoder: takes the image shape, the number of outputs per pixel, the number of latents, the
            size of the context and the hidden layers.
        hidden_features: the default hidden layers.
    """

    encoder: Callable[[Shape, int, Sequence[int]], nn.Module]
    beside: Callable[[Shape, int], tuple[Shape, nn.Module]]
    decoder: Callable[[Shape, int, int, int, Sequence[int]], nn.Module]
    hidden_features: tuple[int, ...]


#: All networks by name.
NETWORKS: dict[str, Network] = {
    "mlp": Network(perceptron.encoder, as_features, perceptron.decoder, (256, 256)),
    "gated": Network(gated.encoder, as_maps, gated.decoder, (32, 32, 64, 64, 64)),
    "resnet": Network(resnet.encoder, as_maps, resnet.decoder, (16, 32, 32)),
}


def encoder(
    name: str,
    shape: Sequence[int],
    context: int,
    hidden_features: Sequence[int] | None = None,
    given: int = 0,
) -> nn.Module:
    """Return an encoder: from images, flattened and scaled to [-1, 1], to a posterior's context.

    It maps (batch, channels * height * width), with exactly one batch dimension, to
    (batch, context). `starting` initialises weight-normalised layers. In a conditional VAE it also
    takes (batch, given), as more inputs of an "mlp" and as learned maps beside the others'
    channels.

    Args:
        name: one of `NETWORKS`.
        shape: channels, height and width of an image.
        context: number of outputs.
        hidden_features: widths of the hidden layers of "mlp"; feature maps of the layers of
            "gated", every second of which halves height and width; feature maps of the halving
            blocks of "resnet". The defaults are (256, 256), (32, 32, 64, 64, 64) and (16, 32, 32).
        given: number of values on which the VAE is conditional; 0 for none.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if the name is unknown, a size is out of range, or a convolutional network has
            no hidden layers.

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
    sizes = context, _hidden_features(name, hidden_features)
    read = _checks.shape("shape", shape)
    if not _checks.positive_integer("given", given, minimum=0):
        return network.encoder(read, *sizes)
    wider, placed = network.beside(read, given)
    return Joined(network.encoder(wider, *sizes), placed)


def decoder(
    name: str,
    shape: Sequence[int],
    outputs: int,
    latents: int,
    context: int,
    hidden_features: Sequence[int] | None = None,
    given: int = 0,
) -> nn.Module:
    """Return a decoder: from latents to the parameters of a likelihood, which start small.

    It maps (batch, latents), with exactly one batch dimension, to
    (batch, channels * height * width, outputs); pixels are flattened channel by channel. In a
    conditional VAE it also takes (batch, given), as more latents.

    Args:
        name: one of `NETWORKS`.
        shape: channels, height and width of an image.
        outputs: number of outputs per pixel.
        latents: number of latent features.
        context: the encoder's; "resnet" uses it as the width of its first layer.
        hidden_features: the encoder's; the decoder mirrors it.
        given: number of values on which the VAE is conditional; 0 for none.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if the name is unknown, a size is out of range, or a convolutional network has
            no hidden layers.

    Example:
        >>> import torch
        >>> network = decoder("gated", (3, 7, 5), 2, latents=4, context=8, hidden_features=(6, 6))
        >>> network(torch.randn(9, 4)).shape
        torch.Size([9, 105, 2])
    """
    network = NETWORKS[_checks.choice("network", name, NETWORKS)]
    outputs = _checks.positive_integer("outputs", outputs)
    latents = _checks.positive_integer("latents", latents)
    context = _checks.positive_integer("context", context)
    given = _checks.positive_integer("given", given, minimum=0)
    built = network.decoder(
        _checks.shape("shape", shape),
        outputs,
        latents + given,
        context,
        _hidden_features(name, hidden_features),
    )
    return Joined(built, nn.Identity()) if given else built


def _hidden_features(name: str, value: Any) -> tuple[int, ...]:
    if value is None:
        return NETWORKS[name].hidden_features
    hidden = _checks.widths("hidden_features", value)
    if not hidden and name != "mlp":
        raise ValueError(f"hidden_features must hold at least one width for {name!r}, got ()")
    return hidden
