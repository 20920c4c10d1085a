"""A flow at a given context, as a torch distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

import torch
from torch import Size, Tensor
from torch.distributions.constraints import Constraint

from invflow import _checks
from invflow._broadcast import broadcast
from invflow._snapshot import Snapshot
from invflow.flows import quantiles
from invflow.flows.affine import AffineMap, affine_map
from invflow.flows.base import Base
from invflow.flows.estimated import Estimated
from invflow.flows.path_gradient import draws_with_score
from invflow.transforms import Transform

P = ParamSpec("P")
R = TypeVar("R")
DistributionT = TypeVar("DistributionT", bound="FlowDistribution")


def _as_called(
    method: Callable[Concatenate[FlowDistribution, P], R],
) -> Callable[Concatenate[FlowDistribution, P], R]:
    """Run a method with the parameters that the flow had when it was called."""

    @wraps(method)
    def run(self: FlowDistribution, /, *args: P.args, **kwargs: P.kwargs) -> R:
        transform, base = self.snapshots
        if transform.current() and base.current():
            return method(self, *args, **kwargs)
        return transform.run(base.run, method, self, *args, **kwargs)

    return run


class FlowDistribution(Estimated):
    r"""The distribution of x = f(z, c) for noise z: $\log q(x|c) = \log p(z) + \log|\det dz/dx|$.

    Made by calling a `Flow`. Mean and variance have a closed form if f is affine and the noise is
    standard normal, as for a `Gaussian`; otherwise, and for the entropy, use the Monte Carlo
    estimates `estimate_mean`, `estimate_variance` and `estimate_entropy`. As for all torch
    distributions, sample shapes are shapes: `sample((5,))`, not `sample(5)`.

    It keeps the parameters with which the flow was called, which `torch.func.functional_call` can
    replace for each call. It sees in-place changes, such as an optimizer's.

    Args:
        transform: f.
        base: the distribution of z.
        context: c, shape (*batch, context), or None.
        batch_shape: the batch shape, to which the context's batch broadcasts.
        like: a tensor with the dtype and device of the samples.
        validate_args: check values, as torch distributions do; None for their default.
        flow_name: class name of the flow that made it, for `repr`.
    """

    # torch declares this as a property but sets it as a plain attribute, as here.
    arg_constraints: ClassVar[dict[str, Any]] = {}  # pyright: ignore[reportIncompatibleMethodOverride, reportAssignmentType]

    def __init__(
        self,
        transform: Transform,
        base: Base,
        context: Tensor | None,
        batch_shape: Size,
        like: Tensor,
        validate_args: bool | None = None,
        flow_name: str = "Flow",
    ) -> None:
        self.flow_name = flow_name
        self.transform = transform
        self.base = base
        self.context = context
        self.like = like
        self.snapshots = Snapshot(transform), Snapshot(base)
        self.has_rsample = base.has_rsample
        super().__init__(batch_shape, Size([transform.features]), validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        """The support: the transform's codomain."""
        return self.transform.codomain

    @property
    def validate_args(self) -> bool:
        """Whether values are checked."""
        return self._validate_args

    def expand(self, batch_shape: Any, _instance: Any = None) -> FlowDistribution:
        """Return the same distribution with a larger batch shape.

        Raises:
            ValueError: if this batch shape does not broadcast to the new one.
        """
        batch_shape = Size(batch_shape)
        if _broadcast("batch_shape", batch_shape, self.batch_shape) != batch_shape:
            raise ValueError(
                f"batch_shape must extend {tuple(self.batch_shape)}, got {tuple(batch_shape)}"
            )
        context = self.context
        if context is not None:
            context = context.expand(*batch_shape, context.shape[-1])
        return self.rebuilt(FlowDistribution, context, batch_shape)

    def rebuilt(
        self, kind: Callable[..., DistributionT], context: Tensor | None, batch_shape: Size
    ) -> DistributionT:
        """Return a distribution with the same parameters, of another class or at another context.

        Args:
            kind: this class or a subclass.
            context: shape (*batch, context), or None.
            batch_shape: the batch shape.
        """
        other = kind(
            *(self.transform, self.base, context, batch_shape, self.like),
            validate_args=self.validate_args,
            flow_name=self.flow_name,
        )
        other.snapshots = self.snapshots
        return other

    @_as_called
    def rsample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return reparameterised samples, shape (*sample_shape, *batch_shape, features).

        Raises:
            NotImplementedError: if the base has none (see `has_rsample`).
            TypeError: if `sample_shape` is not a shape.
            ValueError: if `sample_shape` has a negative size.
        """
        z = self._noise(self.base.rsample, sample_shape, generator)
        return self.transform(z, self.context)[0]

    @_as_called
    def sample(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return samples without a gradient, shape (*sample_shape, *batch_shape, features).

        Raises:
            TypeError: if `sample_shape` is not a shape.
            ValueError: if `sample_shape` has a negative size.
        """
        with torch.no_grad():
            z = self._noise(self.base.sample, sample_shape, generator)
            return self.transform(z, self.context)[0]

    @_as_called
    def rsample_and_log_prob(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return samples and their log density, mapping the noise once.

        Args:
            sample_shape: shape of the sample dimensions, before the batch shape.
            generator: random numbers; torch's own by default.

        Returns:
            x, (*sample_shape, *batch_shape, features), and log q(x), without the last dimension.

        Raises:
            NotImplementedError: if the base has none (see `has_rsample`).
            TypeError: if `sample_shape` is not a shape.
            ValueError: if `sample_shape` has a negative size.
        """
        z = self._noise(self.base.rsample, sample_shape, generator)
        x, ladj = self.transform(z, self.context)
        return x, self.base.log_prob(z) - ladj

    @_as_called
    def rsample_and_score(
        self, sample_shape: Sequence[int] = (), *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        r"""Return samples, their log density, and its gradient with respect to the samples.

        The gradient is that at given parameters, $\nabla_x \log q(x|c)$: what gradients along the
        paths of samples need ("sticking the landing").

        Args:
            sample_shape: shape of the sample dimensions, before the batch shape.
            generator: random numbers; torch's own by default.

        Returns:
            x, (*sample_shape, *batch_shape, features), as from `rsample`; and without a graph log
            q(x), without the last dimension, and the gradient, shaped like x.

        Raises:
            RuntimeError: in `torch.inference_mode`, and under the transforms of `torch.func`.
            NotImplementedError: if the base has none (see `has_rsample`).
            TypeError: if `sample_shape` is not a shape.
            ValueError: if `sample_shape` has a negative size.

        References:
            Roeder et al. 2017, arXiv 1703.09194.

        Example:
            >>> from invflow.flows import IAF
            >>> x, log_q, score = IAF(features=2)().rsample_and_score((5,))
            >>> x.shape, log_q.shape, score.shape
            (torch.Size([5, 2]), torch.Size([5]), torch.Size([5, 2]))
        """
        z = self._noise(self.base.rsample, sample_shape, generator)
        return draws_with_score(self.transform, self.base, z, self.context)

    def _noise(
        self,
        draw: Callable[..., Tensor],
        sample_shape: Sequence[int],
        generator: torch.Generator | None,
    ) -> Tensor:
        if draw == self.base.rsample and not self.has_rsample:
            raise NotImplementedError(
                f"the base, {type(self.base).__name__}, has no reparameterised samples; use sample"
            )
        shape = _checks.sample_shape(sample_shape) + self.batch_shape
        dtype, device = self.like.dtype, self.like.device
        return draw(shape, dtype=dtype, device=device, generator=generator)

    @_as_called
    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of `value` in nats.

        Args:
            value: shape (*any, *batch_shape, features).

        Raises:
            TypeError: if `value` is not a tensor, or does not have the flow's dtype.
            ValueError: if the shape or the device is wrong or, with validation on, an entry is not
                finite or a vector lies outside the support.
        """
        value = self._checked(value)
        z, ladj = self.transform.inverse(value, self.context)
        return self.base.log_prob(z) + ladj

    def _checked(self, value: Tensor) -> Tensor:
        """Return vectors, with their batch shape and the distribution's."""
        _checks.event("value", value, self.event_shape[0], self.like)
        batch = _broadcast("value's batch shape", value.shape[:-1], self.batch_shape)
        value = value.expand(*batch, -1)
        if self.validate_args and not torch.compiler.is_compiling():
            validate(value, self.support)
        return value

    @_as_called
    def mapped(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and log|det dx/dz| for noise, (*any, *batch_shape, features)."""
        return self.transform(z, self.context)

    @_as_called
    def whitened(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise and log|det dz/dx| of vectors, (*any, *batch_shape, features)."""
        return self.transform.inverse(x, self.context)

    @_as_called
    def cdf(self, value: Tensor) -> Tensor:
        r"""Return the probability of values up to `value`, for one feature.

        $$P(X \le x) = F(f^{-1}(x; c)) \quad\text{or}\quad 1 - F(f^{-1}(x; c))$$

        for an increasing or a decreasing f, with the distribution function F of the noise.

        Args:
            value: shape (*any, *batch_shape, 1).

        Returns:
            Probabilities, without the last dimension, as from `log_prob`.

        Raises:
            NotImplementedError: if there are several features, f is not monotone because it wraps
                around a circle, or there is no formula for F.
            TypeError, ValueError: as `log_prob`.
        """
        if not quantiles.is_monotone(self.transform):
            return super().cdf(value)
        given = self.transform, self.base, self.context, self.batch_shape
        return quantiles.cdf(*given, self._checked(value))

    @_as_called
    def icdf(self, value: Tensor) -> Tensor:
        """Return quantiles, for one feature: the inverse of `cdf`.

        Args:
            value: probabilities, between 0 and 1, shape (*any, *batch_shape).

        Returns:
            Shape (*any, *batch_shape, 1), as from `sample`.

        Raises:
            NotImplementedError: as `cdf`, or if there is no formula for the quantiles of the noise.
            TypeError: if `value` is not a tensor of the flow's dtype.
            ValueError: if the shape does not broadcast, or a probability is not between 0 and 1.
        """
        if not quantiles.is_monotone(self.transform):
            return super().icdf(value)
        if not isinstance(value, Tensor) or value.dtype != self.like.dtype:
            found = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"value must be a tensor of {self.like.dtype}, got {found}")
        shape = _broadcast("value's shape", value.shape, self.batch_shape)
        if self.validate_args and not _all((value > 0) & (value < 1)):
            raise ValueError("value must hold probabilities between 0 and 1, both excluded")
        given = self.transform, self.base, self.context, self.batch_shape
        return quantiles.icdf(*given, value.expand(shape))

    @_as_called
    def affine_map(self) -> AffineMap | None:
        """Return the affine map of a Gaussian; None if this is not known to be one."""
        return affine_map(self.transform, self.base, self.context, self.batch_shape, self.like)

    @property
    def mean(self) -> Tensor:
        """The mean of a Gaussian, (*batch_shape, features).

        Raises:
            NotImplementedError: if this distribution is not known to be Gaussian.
        """
        found = self.affine_map()
        return super().mean if found is None else found.shift

    @property
    def variance(self) -> Tensor:
        """The variance of each feature of a Gaussian, (*batch_shape, features).

        Raises:
            NotImplementedError: if this distribution is not known to be Gaussian.
        """
        found = self.affine_map()
        return super().variance if found is None else found.squares

    @property
    def stddev(self) -> Tensor:
        """The standard deviation of each feature of a Gaussian, (*batch_shape, features).

        Raises:
            NotImplementedError: if this distribution is not known to be Gaussian.
        """
        found = self.affine_map()
        return super().stddev if found is None else found.squares.sqrt()

    def estimate_entropy(
        self, samples: int = 1000, *, generator: torch.Generator | None = None
    ) -> Tensor:
        if not self.has_rsample:
            return super().estimate_entropy(samples, generator=generator)
        count = _checks.positive_integer("samples", samples)
        return -self.rsample_and_log_prob((count,), generator=generator)[1].mean(0)

    def __repr__(self) -> str:
        context = None if self.context is None else tuple(self.context.shape)
        return (
            f"{type(self).__name__}({self.flow_name}, features={self.event_shape[0]}, "
            f"batch_shape={tuple(self.batch_shape)}, context={context})"
        )


def validate(value: Tensor, support: Constraint) -> None:
    """Raise a `ValueError` for entries that are not finite or vectors outside a support."""
    if value.numel() == 0:  # torch's constraints cannot handle this
        return
    finite = torch.isfinite(value)
    if not _all(finite):
        raise ValueError(
            f"value must be finite, got {int((~finite).sum())} NaN or infinite entries "
            f"out of {value.numel()}"
        )
    inside = support.check(value)
    if not _all(inside):
        raise ValueError(
            f"value must lie in the support, {support}, got {int((~inside).sum())} "
            f"of {inside.numel()} vectors outside it"
        )


def _all(condition: Tensor) -> bool:
    """Whether a condition holds everywhere; True if the values cannot be inspected."""
    try:
        return bool(condition.all())
    except RuntimeError:  # under vmap
        return True


def _broadcast(name: str, shape: Size, batch_shape: Size) -> Size:
    """Return the broadcast shape of a given batch shape and the distribution's."""
    try:
        return broadcast(shape, batch_shape)
    except ValueError as error:
        raise ValueError(
            f"{name} must broadcast against the distribution's batch shape, "
            f"{tuple(batch_shape)}, got {tuple(shape)}"
        ) from error
