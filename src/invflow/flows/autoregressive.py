"""IAF and MAF: the same autoregressive transforms in opposite directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, cast

import torch

from invflow import _checks
from invflow import univariate as univariates
from invflow.conditioners import CONDITIONERS, Conditioner
from invflow.conditioners.groups import checked
from invflow.flows.base import Base
from invflow.flows.bases import check_suits, described
from invflow.flows.flow import Flow
from invflow.transforms import Autoregressive, Compose, Inverse, Transform, orders
from invflow.univariate import Univariate


class AutoregressiveFlow(Flow):
    """A sequence of autoregressive transforms, built by name; see `IAF` for the arguments."""

    def __init__(
        self,
        features: int,
        context: int = 0,
        transforms: int = 3,
        hidden_features: Sequence[int] = (64, 64),
        *,
        univariate: str | Mapping[str, Any] | Univariate = "affine",
        conditioner: str | Callable[..., Conditioner] = "made",
        order: str = "reverse",
        group: int | Sequence[int] = 1,
        inverse: str = "auto",
        input_bound: float | None = None,
        base: str | Mapping[str, Any] | Base | None = None,
        checkpoint: bool = False,
        generator: torch.Generator | None = None,
        **options: Any,
    ) -> None:
        features = _checks.positive_integer("features", features)
        transforms = _checks.positive_integer("transforms", transforms)
        hidden = _checks.widths("hidden_features", hidden_features)
        each = univariates.univariate(univariate)
        build = CONDITIONERS.choose(conditioner) if isinstance(conditioner, str) else conditioner
        if not callable(build) or isinstance(build, Conditioner):
            raise TypeError(
                "conditioner must be a name, a Conditioner class or another callable that builds a "
                f"conditioner for each transform, got a {type(conditioner).__name__}"
            )
        groups = checked(group, features)
        # A conditioner that does not know groups takes one feature after another.
        grouped = {} if groups == 1 else {"group": groups}
        parts = [
            Autoregressive(
                cast(Callable[..., Conditioner], build)(
                    features, each.start, hidden, context, generator=generator, **grouped, **options
                ),
                each,
                order=positions,
                inverse=inverse,
                input_bound=input_bound,
            )
            for positions in orders(order, features, transforms, generator)
        ]
        suited = each.base if base is None else base
        super().__init__(
            self._directed(Compose(parts, checkpoint=checkpoint)), suited, generator=generator
        )
        check_suits(self.base, each)
        self.config = _checks.plain(
            {
                "features": features,
                "context": context,
                "transforms": transforms,
                "hidden_features": list(hidden),
                "univariate": univariates.describe(each),
                "conditioner": CONDITIONERS.name_of(build) or conditioner,
                "order": order,
                "group": groups,
                "inverse": inverse,
                "input_bound": input_bound,
                "base": described(self.base),
                "checkpoint": checkpoint,
                **options,
            }
        )

    @staticmethod
    def _directed(transform: Transform) -> Transform:
        raise NotImplementedError


class IAF(AutoregressiveFlow):
    r"""Inverse autoregressive flow: samples and their density in one pass.

    $$x = f_K \circ \dots \circ f_1(z), \qquad (f_k(z))_i = u(z_i;\, P_k(z_{<i}, c))$$

    Both directions do the arithmetic of about one network pass per transform; z -> x does so
    without a loop over features.

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        transforms: number of autoregressive transforms, K.
        hidden_features: widths of the conditioner's hidden layers.
        univariate: the map of each feature: a name in `UNIVARIATES`, such as "affine" or "gated", a
            mapping with a "name" and fields, or an object.
        conditioner: "made", "lstm", "attention", "convolution", or a callable that builds a
            conditioner from (features, start, hidden_features, context, generator=..., **options),
            where `group` is an option if it is not 1.
        order: order of the features in each transform: "reverse" (alternating), "random" or "same".
        group: number of features in a group (the last group may be smaller), or the sizes of the
            groups, which sum to D. In the order of a transform, the parameters of a group depend on
            the groups before it; the sequential direction takes one step per group. 1 is
            autoregression, half of D a kind of coupling.
        inverse: "auto", "compiled", "cached", "fixed_point" or "passes"; see `Autoregressive`.
        input_bound: bound on what conditioners read of a feature, so that one extreme value does
            not push all later features to extremes; None for no bound. It changes nothing where |z|
            is at most half the bound. For data that is not of unit scale, use `Preconditioned`.
        base: the distribution of the noise: a name in `BASES`, a mapping with a "name" and its
            arguments, or an object; by default a standard normal, or the base that suits the map.
        checkpoint: save memory for gradients at the cost of one more pass; see `Compose`.
        generator: random numbers for the initial weights; torch's own by default.
        **options: further arguments of the conditioner, such as `activation` and `residual`.

    Raises:
        TypeError: if an argument has the wrong type, or the conditioner does not have an option.
        ValueError: if a size is out of range, or a name is unknown.

    References:
        Kingma et al. 2016, arXiv 1606.04934.

    Example:
        >>> import torch
        >>> flow = IAF(features=4, context=2)
        >>> q = flow(torch.randn(5, 2))
        >>> x, log_q = q.rsample_and_log_prob((10,))
        >>> x.shape, log_q.shape
        (torch.Size([10, 5, 4]), torch.Size([10, 5]))
        >>> torch.allclose(q.log_prob(x), log_q, atol=1e-4)
        True
    """

    name: ClassVar[str | None] = "iaf"

    def __init__(
        self,
        features: int,
        context: int = 0,
        transforms: int = 3,
        hidden_features: Sequence[int] = (64, 64),
        *,
        input_bound: float | None = 10.0,
        **options: Any,
    ) -> None:
        super().__init__(
            features, context, transforms, hidden_features, input_bound=input_bound, **options
        )

    @staticmethod
    def _directed(transform: Transform) -> Transform:
        return transform


class MAF(AutoregressiveFlow):
    r"""Masked autoregressive flow: the density of given data in one pass.

    The inverse of the transform of an `IAF` with the same arguments:

    $$z = f_K \circ \dots \circ f_1(x), \qquad \log q(x) = \log p(z) + \log|\det dz/dx|$$

    Args:
        features: number of features, D.
        context: size of the context, 0 for none.
        transforms: number of autoregressive transforms, K.
        hidden_features: widths of the conditioner's hidden layers.
        univariate: as for `IAF`.
        conditioner: as for `IAF`.
        order: as for `IAF`.
        group: as for `IAF`.
        inverse: how to sample; see `Autoregressive`.
        input_bound: as for `IAF`; no bound by default, because conditioners read data, which may
            have any scale.
        base: as for `IAF`.
        checkpoint: as for `IAF`.
        generator: random numbers for the initial weights; torch's own by default.
        **options: further arguments of the conditioner.

    Raises:
        TypeError: if an argument has the wrong type, or the conditioner does not have an option.
        ValueError: if a size is out of range, or a name is unknown.

    References:
        Papamakarios et al. 2017, arXiv 1705.07057.

    Example:
        >>> import torch
        >>> flow = MAF(features=4)
        >>> flow().log_prob(torch.randn(5, 4)).shape
        torch.Size([5])
    """

    name: ClassVar[str | None] = "maf"

    @staticmethod
    def _directed(transform: Transform) -> Transform:
        return Inverse(transform)
