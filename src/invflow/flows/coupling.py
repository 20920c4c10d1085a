"""RealNVP and the coupling spline flow: both directions in one pass, without a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from invflow import _checks
from invflow import univariate as univariates
from invflow.flows.base import Base
from invflow.flows.bases import check_suits, described
from invflow.flows.flow import Flow
from invflow.transforms import Compose, Coupling
from invflow.transforms.coupling import turns
from invflow.univariate import Univariate


class _CouplingFlow(Flow):
    #: The name of the default map.
    map: ClassVar[str]

    def __init__(
        self,
        features: int,
        context: int = 0,
        transforms: int = 4,
        hidden_features: Sequence[int] = (64, 64),
        *,
        univariate: str | Mapping[str, Any] | Univariate | None = None,
        mask: str = "alternating",
        activation: str = "elu",
        base: str | Mapping[str, Any] | Base | None = None,
        checkpoint: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        hidden = _checks.widths("hidden_features", hidden_features)
        each = univariates.univariate(self.map if univariate is None else univariate)
        parts = [
            Coupling(
                features,
                each,
                mask=kept,
                context=context,
                hidden_features=hidden,
                activation=activation,
                generator=generator,
            )
            for kept in turns(mask, features, _checks.positive_integer("transforms", transforms))
        ]
        suited = each.base if base is None else base
        super().__init__(Compose(parts, checkpoint=checkpoint), suited, generator=generator)
        check_suits(self.base, each)
        self.config = _checks.plain(
            {
                "features": features,
                "context": context,
                "transforms": transforms,
                "hidden_features": list(hidden),
                "univariate": univariates.describe(each),
                "mask": mask,
                "activation": activation,
                "base": described(self.base),
                "checkpoint": checkpoint,
            }
        )


class RealNVP(_CouplingFlow):
    r"""Alternating couplings: half of the features set the shift and the scale of the rest.

    $$x_K = z_K, \qquad x_i = \mu_i(z_K, c) + e^{s_i(z_K, c)} z_i \text{ for } i \notin K$$

    Both directions take one pass of a perceptron per transform.

    Args:
        features: number of features, D, at least 2.
        context: size of the context, 0 for none.
        transforms: number of couplings, K; each keeps the features that the previous one changed.
        hidden_features: widths of the perceptrons' hidden layers.
        univariate: the map of each changed feature, as for `IAF`; "affine" by default.
        mask: which features alternate: "alternating" or "halves"; see `masks`.
        activation: of the perceptrons, by name as for `MADE`.
        base: the distribution of the noise: a name in `BASES`, a mapping with a "name" and its
            arguments, or an object; by default a standard normal, or the base that suits the map.
        checkpoint: save memory for gradients at the cost of one more pass; see `Compose`.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size is out of range, a name is unknown, or the map cannot take the base.

    References:
        Dinh et al. 2017, arXiv 1605.08803.

    Example:
        >>> import torch
        >>> q = RealNVP(features=4, context=2)(torch.randn(5, 2))
        >>> x, log_q = q.rsample_and_log_prob()
        >>> torch.allclose(q.log_prob(x), log_q, atol=1e-4)
        True
    """

    name: ClassVar[str | None] = "realnvp"
    map: ClassVar[str] = "affine"


class CouplingNSF(_CouplingFlow):
    r"""Neural spline flow with couplings: a `RealNVP` with rational-quadratic splines.

    Args:
        features: number of features, D, at least 2.
        context: size of the context, 0 for none.
        transforms: number of couplings, K.
        hidden_features: widths of the perceptrons' hidden layers.
        univariate: the map of each changed feature; to change the spline's settings pass a
            mapping, such as {"name": "spline", "bins": 16, "low": -4.0, "high": 4.0}.
        mask: as for `RealNVP`.
        activation: as for `RealNVP`.
        base: as for `RealNVP`.
        checkpoint: as for `RealNVP`.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a size is out of range, a name is unknown, or the map cannot take the base.

    References:
        Durkan et al. 2019, arXiv 1906.04032.

    Example:
        >>> import torch
        >>> CouplingNSF(features=4)().log_prob(torch.randn(5, 4)).shape
        torch.Size([5])
    """

    name: ClassVar[str | None] = "coupling-nsf"
    map: ClassVar[str] = "spline"
