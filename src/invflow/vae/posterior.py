"""Approximate posteriors by name: flows whose context is what the encoder says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from invflow import _checks
from invflow.flows import IAF, Flow
from invflow.transforms import (
    Compose,
    Elementwise,
    Planar,
    Radial,
    Sylvester,
    Transform,
    UnitTriangular,
)

#: Takes the number of latents, the size of the context, how many steps and their widths.
Builder = Callable[[int, int, int, Sequence[int]], list[Transform]]


def diagonal(latents: int, context: int, steps: int, hidden: Sequence[int]) -> list[Transform]:
    """A Gaussian with the encoder's mean and scale for each latent."""
    return [Elementwise(latents, "affine", context=context)]


def full(latents: int, context: int, steps: int, hidden: Sequence[int]) -> list[Transform]:
    """A Gaussian with all covariances: a linear IAF (Kingma et al. 2016, appendix A)."""
    return [UnitTriangular(latents, context=context), *diagonal(latents, context, steps, hidden)]


def residual(transform: type[Planar] | type[Radial] | type[Sylvester]) -> Builder:
    """Return what builds the diagonal Gaussian, then steps with parameters from the encoder."""

    def build(latents: int, context: int, steps: int, hidden: Sequence[int]) -> list[Transform]:
        flow = [transform(latents, context=context) for _ in range(steps)]
        return [*diagonal(latents, context, steps, hidden), *flow]

    return build


def autoregressive(conditioner: str, univariate: str, order: str) -> Builder:
    """Return what builds the diagonal Gaussian and autoregressive steps that see the context.

    With a MADE the order of the latents is reversed after every step (Kingma et al. 2016,
    algorithm 1).
    """

    def build(latents: int, context: int, steps: int, hidden: Sequence[int]) -> list[Transform]:
        flow = IAF(
            latents,
            context,
            steps,
            hidden,
            conditioner=conditioner,
            univariate=univariate,
            order=order,
        )
        return [*diagonal(latents, context, steps, hidden), flow.transform]

    return build


#: Every posterior that can be named.
POSTERIORS: dict[str, Builder] = {
    "diagonal": diagonal,
    "full": full,
    "planar": residual(Planar),
    "radial": residual(Radial),
    "sylvester": residual(Sylvester),  # orthogonal ones (van den Berg et al. 2018)
    "iaf": autoregressive("made", "gated", "reverse"),
    "iaf-lstm": autoregressive("lstm", "gated", "reverse"),
    "iaf-attention": autoregressive("attention", "gated", "reverse"),
    "spline": autoregressive("made", "spline", "reverse"),
}


def posterior(name: str, latents: int, context: int, steps: int, hidden: Sequence[int]) -> Flow:
    """Return the posterior of a VAE.

    Args:
        name: one of `POSTERIORS`.
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
    latents = _checks.positive_integer("latents", latents)
    context = _checks.positive_integer("context", context)
    steps = _checks.positive_integer("flow_steps", steps)
    return Flow(Compose(POSTERIORS[name](latents, context, steps, hidden)))
