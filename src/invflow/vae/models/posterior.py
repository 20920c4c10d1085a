"""Approximate posteriors by name: flows whose context is the encoder's output."""

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

#: Takes the numbers of latents, context features and transforms, and the transforms' widths.
Builder = Callable[[int, int, int, Sequence[int]], list[Transform]]


def diagonal(
    latents: int, context: int, transforms: int, hidden_features: Sequence[int]
) -> list[Transform]:
    """A Gaussian with the encoder's mean and scale for each latent."""
    return [Elementwise(latents, "affine", context=context)]


def full(
    latents: int, context: int, transforms: int, hidden_features: Sequence[int]
) -> list[Transform]:
    """A Gaussian with a full covariance matrix: a linear IAF (Kingma et al. 2016, appendix A)."""
    return [
        UnitTriangular(latents, context=context),
        *diagonal(latents, context, transforms, hidden_features),
    ]


def residual(transform: type[Planar] | type[Radial] | type[Sylvester]) -> Builder:
    """Return a builder of a diagonal Gaussian and transforms that the encoder parameterises."""

    def build(
        latents: int, context: int, transforms: int, hidden_features: Sequence[int]
    ) -> list[Transform]:
        flow = [transform(latents, context=context) for _ in range(transforms)]
        return [*diagonal(latents, context, transforms, hidden_features), *flow]

    return build


def autoregressive(conditioner: str, univariate: str, order: str) -> Builder:
    """Return a builder of a diagonal Gaussian, then autoregressive transforms given the context.

    A MADE's order of the latents is reversed after every transform (Kingma et al. 2016,
    algorithm 1).
    """

    def build(
        latents: int, context: int, transforms: int, hidden_features: Sequence[int]
    ) -> list[Transform]:
        flow = IAF(
            latents,
            context,
            transforms,
            hidden_features,
            conditioner=conditioner,
            univariate=univariate,
            order=order,
        )
        return [*diagonal(latents, context, transforms, hidden_features), flow.transform]

    return build


#: All posteriors by name.
POSTERIORS: dict[str, Builder] = {
    "diagonal": diagonal,
    "full": full,
    "planar": residual(Planar),
    "radial": residual(Radial),
    "sylvester": residual(Sylvester),  # orthogonal (van den Berg et al. 2018)
    "iaf": autoregressive("made", "gated", "reverse"),
    "iaf-lstm": autoregressive("lstm", "gated", "reverse"),
    "iaf-attention": autoregressive("attention", "gated", "reverse"),
    "spline": autoregressive("made", "spline", "reverse"),
}


def posterior(
    name: str, latents: int, context: int, transforms: int, hidden_features: Sequence[int]
) -> Flow:
    """Return the posterior of a VAE.

    Args:
        name: one of `POSTERIORS`.
        latents: number of latent features.
        context: size of the encoder's output.
        transforms: number of flow transforms.
        hidden_features: widths of the hidden layers of each transform's network.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if the name is unknown, or a size is out of range.

    Example:
        >>> import torch
        >>> flow = posterior("iaf", latents=4, context=8, transforms=2, hidden_features=(16,))
        >>> q = flow(torch.randn(3, 8))
        >>> q.batch_shape, q.event_shape
        (torch.Size([3]), torch.Size([4]))
    """
    _checks.choice("posterior", name, POSTERIORS)
    latents = _checks.positive_integer("latents", latents)
    context = _checks.positive_integer("context", context)
    transforms = _checks.positive_integer("flow_transforms", transforms)
    hidden_features = _checks.widths("flow_hidden_features", hidden_features)
    return Flow(Compose(POSTERIORS[name](latents, context, transforms, hidden_features)))
