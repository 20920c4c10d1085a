"""Approximate posteriors by name: flows whose context is what the encoder says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from invflow import _checks
from invflow.conditioners import MADE
from invflow.flows import Flow
from invflow.transforms import Autoregressive, Compose, Elementwise, Transform, orders
from invflow.univariate import Gated


def diagonal(latents: int, context: int, steps: int, hidden: Sequence[int]) -> list[Transform]:
    """A Gaussian with the encoder's mean and scale for each latent."""
    return [Elementwise(latents, "affine", context=context)]


def iaf(latents: int, context: int, steps: int, hidden: Sequence[int]) -> list[Transform]:
    """The diagonal Gaussian, then gated autoregressive steps that see the encoder's context.

    The order of the latents is reversed after every step (Kingma et al. 2016, algorithm 1).
    """
    gate = Gated()
    flow = [
        Autoregressive(MADE(latents, gate.start, hidden, context), gate, order=order)
        for order in orders("reverse", latents, steps)
    ]
    return [*diagonal(latents, context, steps, hidden), *flow]


#: Every posterior that can be named.
POSTERIORS: dict[str, Callable[[int, int, int, Sequence[int]], list[Transform]]] = {
    "diagonal": diagonal,
    "iaf": iaf,
}


def posterior(name: str, latents: int, context: int, steps: int, hidden: Sequence[int]) -> Flow:
    """Return the posterior of a VAE.

    Args:
        name: "diagonal" or "iaf".
        latents: number of latent features.
        context: size of the encoder's output.
        steps: number of flow steps.
        hidden: widths of the hidden layers of each step's network.

    Raises:
        TypeError: a size that is no integer.
        ValueError: an unknown name, or a size out of range.

    Example:
        >>> import torch
        >>> q = posterior("iaf", latents=4, context=8, steps=2, hidden=(16,))(torch.randn(3, 8))
        >>> q.batch_shape, q.event_shape
        (torch.Size([3]), torch.Size([4]))
    """
    _checks.choice("posterior", name, POSTERIORS)
    _checks.positive_integer("context", context)
    _checks.positive_integer("flow_steps", steps)
    return Flow(Compose(POSTERIORS[name](latents, context, steps, hidden)))
