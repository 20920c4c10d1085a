"""Transforms as `torch.distributions` transforms."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Size, Tensor
from torch.distributions import Transform as TorchTransform
from torch.distributions.constraints import Constraint

from invflow import _checks
from invflow._broadcast import broadcast
from invflow._part import Part
from invflow._snapshot import Snapshot

if TYPE_CHECKING:
    from invflow.transforms.base import Transform


class AsTorch(TorchTransform):
    r"""A transform at a context, for `TransformedDistribution` and `ComposeTransform`.

    Made by `Transform.as_torch`. It uses the parameters that the transform has when it is called.

    torch asks for a value and then for its log-determinant, which this library computes together.
    So the last log-determinant is kept for a call with the same two tensors: until that call, until
    something else is mapped, or until one of the tensors is deleted (with `cache_size=1`, only
    until something else is mapped). It is recomputed for other tensors, if parameters, the context
    or one of the tensors have changed since, and if gradients were recorded then but not now, or
    vice versa.

    Args:
        transform: maps noise to data.
        context: shape (*batch, context), or None if none was declared.
        cache_size: 1 to remember the last value too, as torch's transforms do; 0 not to.

    Raises:
        TypeError: if `transform` is not a transform, or the context is not a tensor of
            floating-point numbers.
        ValueError: if the context is missing, not wanted or of the wrong size, or `cache_size` is
            neither 0 nor 1.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal, TransformedDistribution
        >>> import invflow
        >>> normal = Independent(Normal(torch.zeros(4), torch.ones(4)), 1)
        >>> flow = invflow.IAF(features=4, context=2)
        >>> q = TransformedDistribution(normal, [flow.transform.as_torch(torch.randn(5, 2))])
        >>> q.batch_shape, q.log_prob(q.rsample((10,))).shape
        (torch.Size([5]), torch.Size([10, 5]))
    """

    bijective: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self, transform: Transform, context: Tensor | None = None, cache_size: int = 0
    ) -> None:
        super().__init__(cache_size)
        if not isinstance(transform, Part):
            raise TypeError(f"transform must be a Transform, got {type(transform).__name__}")
        self.batch_shape = context.shape[:-1] if isinstance(context, Tensor) else Size()
        _checks.context(context, transform.context, self.batch_shape)
        self.transform, self.context = transform, context
        self._last: _Mapped | None = None

    @property
    def domain(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The space of the noise."""
        return self.transform.domain

    @property
    def codomain(self) -> Constraint:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The space of the data."""
        return self.transform.codomain

    def with_cache(self, cache_size: int = 1) -> AsTorch:
        """Return the same wrapper with this cache size."""
        if cache_size == self._cache_size:
            return self
        return AsTorch(self.transform, self.context, cache_size)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return a value and its log-determinant together."""
        return self.transform(self._fitted(x), self.context)

    def _call(self, x: Tensor) -> Tensor:
        y, ladj = self.call_and_ladj(x)
        self._remember(x, y, ladj)
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x, ladj = self.transform.inverse(self._fitted(y), self.context)
        self._remember(x, y, -ladj)
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log|det dy/dx|, one number per batch element.

        Args:
            x: noise, (*batch, features).
            y: the value that x is mapped to.
        """
        ladj = None if self._last is None else self._last.ladj(x, y)
        if ladj is None:
            return self.call_and_ladj(x)[1]
        if not self._cache_size:
            self._last = None
        return ladj

    def _remember(self, x: Tensor, y: Tensor, ladj: Tensor) -> None:
        if torch.compiler.is_compiling():
            self._last = None
        else:
            self._last = _Mapped(self.transform, self.context, x, y, ladj)

    def _fitted(self, value: Tensor) -> Tensor:
        """Return vectors broadcast to the context's batch shape."""
        if not self.batch_shape or not isinstance(value, Tensor):  # the transform will reject it
            return value
        return value.expand(self.forward_shape(value.shape))

    def forward_shape(self, shape: Size) -> Size:
        """Return the shape of the values for vectors of this shape, with the context's batch.

        Raises:
            ValueError: if the last size is not `features`, or the batch does not broadcast against
                the context's.
        """
        features = self.transform.features
        try:
            common = broadcast(shape[:-1], self.batch_shape)
        except ValueError:
            common = None
        if tuple(shape[-1:]) != (features,) or common is None:
            raise ValueError(
                f"shape must be (*batch, {features}), with a batch that broadcasts against the "
                f"context's, {tuple(self.batch_shape)}, got {tuple(shape)}"
            )
        return common + Size([features])

    def inverse_shape(self, shape: Size) -> Size:
        """Return the shape that is mapped to vectors of this shape; see `forward_shape`."""
        return self.forward_shape(shape)

    def __eq__(self, other: object) -> bool:
        """Whether both wrap the same transform at the same context."""
        if not isinstance(other, AsTorch):
            return False
        return self.transform is other.transform and self.context is other.context

    def __hash__(self) -> int:
        return hash((id(self.transform), id(self.context)))

    def __getstate__(self) -> dict[str, Any]:
        # Without the last value and torch's cache of it, which may be part of a graph.
        return {**super().__getstate__(), "_last": None, "_cached_x_y": (None, None)}

    def __repr__(self) -> str:
        context = None if self.context is None else tuple(self.context.shape)
        return (
            f"AsTorch({type(self.transform).__name__}, features={self.transform.features}, "
            f"context={context})"
        )


class _Mapped:
    """The log-determinant of one tensor mapped to another, for as long as both exist."""

    def __init__(
        self, transform: Transform, context: Tensor | None, x: Tensor, y: Tensor, ladj: Tensor
    ) -> None:
        snapshot = Snapshot(transform)
        self._context = context
        kept = [(ladj, snapshot, self._state(snapshot, x, y))]

        def forget(_: object) -> None:
            kept.clear()

        self._kept = kept
        self._pair = weakref.ref(x, forget), weakref.ref(y, forget)

    def ladj(self, x: Tensor, y: Tensor) -> Tensor | None:
        """Return it if it belongs to these two tensors and would be the same now."""
        if not self._kept or self._pair[0]() is not x or self._pair[1]() is not y:
            return None
        ladj, snapshot, state = self._kept[0]
        same = snapshot.current() and state == self._state(snapshot, x, y)
        return ladj if same else None

    def _state(self, snapshot: Snapshot, x: Tensor, y: Tensor) -> tuple[object, ...]:
        """Return everything that in-place changes change, and whether gradients are recorded."""
        context = 0 if self._context is None else _version(self._context)
        return torch.is_grad_enabled(), context, _version(x), _version(y), snapshot.versions()


def _version(tensor: Tensor) -> int:
    """Return a tensor's version, which in-place changes increase; none in inference mode."""
    return 0 if tensor.is_inference() else tensor._version
