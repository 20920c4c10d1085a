"""NSF, NAF and UMNN: MAFs with more flexible univariate maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from invflow.flows.autoregressive import AutoregressiveFlow
from invflow.transforms import Inverse, Transform
from invflow.univariate import Univariate


class _FlexibleFlow(AutoregressiveFlow):
    #: The name of the default map.
    map: ClassVar[str]

    def __init__(
        self,
        features: int,
        context: int = 0,
        transforms: int = 3,
        hidden_features: Sequence[int] = (64, 64),
        *,
        univariate: str | Mapping[str, Any] | Univariate | None = None,
        **options: Any,
    ) -> None:
        each = self.map if univariate is None else univariate
        super().__init__(features, context, transforms, hidden_features, univariate=each, **options)

    @staticmethod
    def _directed(transform: Transform) -> Transform:
        return Inverse(transform)


class NSF(_FlexibleFlow):
    r"""Neural spline flow: a `MAF` with rational-quadratic splines.

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        transforms: number of autoregressive transforms, K.
        hidden_features: widths of the conditioner's hidden layers.
        univariate: the map of each feature; to change the settings pass a mapping, such as
            {"name": "spline", "bins": 16, "low": -4.0, "high": 4.0}, or an object.
        **options: further arguments, as for `MAF`.

    Raises:
        TypeError: if an argument has the wrong type, or the conditioner does not have an option.
        ValueError: if a size is out of range, or a name is unknown.

    References:
        Durkan et al. 2019, arXiv 1906.04032.

    Example:
        >>> import torch
        >>> flow = NSF(features=4)
        >>> flow().log_prob(torch.randn(5, 4)).shape
        torch.Size([5])
    """

    name: ClassVar[str | None] = "nsf"
    map: ClassVar[str] = "spline"


class NAF(_FlexibleFlow):
    r"""Neural autoregressive flow: a `MAF` with deep mixtures of sigmoids.

    Sampling inverts the maps by root finding, with the derivatives of the implicit function. (For a
    flow that samples in closed form, use `IAF` with univariate="sigmoidal".)

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        transforms: number of autoregressive transforms, K.
        hidden_features: widths of the conditioner's hidden layers.
        univariate: the map of each feature; to change the settings pass a mapping, such as
            {"name": "sigmoidal", "units": 16, "layers": 1}, or an object.
        **options: further arguments, as for `MAF`.

    Raises:
        TypeError: if an argument has the wrong type, or the conditioner does not have an option.
        ValueError: if a size is out of range, or a name is unknown.

    References:
        Huang et al. 2018, arXiv 1804.00779.

    Example:
        >>> import torch
        >>> flow = NAF(features=4)
        >>> flow().log_prob(torch.randn(5, 4)).shape
        torch.Size([5])
    """

    name: ClassVar[str | None] = "naf"
    map: ClassVar[str] = "sigmoidal"


class UMNN(_FlexibleFlow):
    r"""Unconstrained monotonic flow: a `MAF` with integrals of positive networks.

    Sampling inverts the maps by root finding, with the derivatives of the implicit function. (For a
    flow that samples in closed form, use `IAF` with univariate="monotonic".)

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        transforms: number of autoregressive transforms, K.
        hidden_features: widths of the conditioner's hidden layers.
        univariate: the map of each feature; to change the settings pass a mapping, such as
            {"name": "monotonic", "units": 16, "nodes": 64}, or an object.
        **options: further arguments, as for `MAF`.

    Raises:
        TypeError: if an argument has the wrong type, or the conditioner does not have an option.
        ValueError: if a size is out of range, or a name is unknown.

    References:
        Wehenkel and Louppe 2019, arXiv 1908.05164.

    Example:
        >>> import torch
        >>> flow = UMNN(features=4)
        >>> flow().log_prob(torch.randn(5, 4)).shape
        torch.Size([5])
    """

    name: ClassVar[str | None] = "umnn"
    map: ClassVar[str] = "monotonic"
