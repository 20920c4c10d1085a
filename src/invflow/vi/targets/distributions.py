"""The supports of distributions of torch and Pyro, narrower than these say where they must be."""

from __future__ import annotations

from typing import Any

from torch.distributions import Independent, MixtureSameFamily, VonMises, constraints
from torch.distributions.constraints import Constraint

from invflow.vi.targets.supports import Image, angle, common

# Classes of Pyro go by their names, so that Pyro need not be installed.
_WRAPPERS = ("ExpandedDistribution", "MaskedDistribution")
_ANGLES = ("SineBivariateVonMises", "SineSkewed")


def support(distribution: Any) -> Constraint:
    """Return the support of a distribution.

    Von Mises distributions have the circle, where torch and Pyro say the real line. A transformed
    distribution has the image of the support of its base: 1 + an exponential variable has values
    above 1, where torch says all real numbers.

    Raises:
        NotImplementedError: if it is a mixture whose components may have different supports.

    Example:
        >>> import torch
        >>> from torch.distributions import AffineTransform, Exponential, TransformedDistribution
        >>> later = TransformedDistribution(Exponential(1.0), AffineTransform(1.0, 1.0))
        >>> support(later).check(torch.tensor([0.5, 1.5]))
        tensor([False,  True])
    """
    kind = type(distribution).__name__
    if isinstance(distribution, VonMises):
        return angle
    if kind in _ANGLES:
        return constraints.independent(angle, 1)
    if isinstance(distribution, Independent):
        base = support(distribution.base_dist)
        return constraints.independent(base, distribution.reinterpreted_batch_ndims)
    if kind in _WRAPPERS:
        return support(distribution.base_dist)
    if isinstance(distribution, MixtureSameFamily):
        return common(support(distribution.component_distribution))
    if kind == "MaskedMixture":
        parts = distribution.component0, distribution.component1
        first, second = (common(support(each)) for each in parts)
        if type(first) is not type(second) or vars(first) != vars(second):
            raise NotImplementedError(f"its components' supports differ, {first} and {second}")
        return first
    if kind == "TransformedDistribution" and all(t.bijective for t in distribution.transforms):
        return Image(support(distribution.base_dist), distribution.transforms)
    return distribution.support
