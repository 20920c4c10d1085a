"""A base distribution and a transform: a family of distributions indexed by a context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Size, Tensor

from invflow import _checks
from invflow.flows.base import Base
from invflow.flows.bases import as_base
from invflow.flows.distribution import FlowDistribution
from invflow.flows.named import Named
from invflow.flows.tempered import Tempered
from invflow.transforms import Transform


class Flow(Named):
    """A normalizing flow: call it, with a context if it has one, to get a distribution.

    Args:
        transform: maps noise to data.
        base: the distribution of the noise: a name in `BASES`, a mapping with a "name" and its
            arguments, or an object.
        generator: random numbers for the initial weights of a base that is itself a flow.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the base is unknown, or has another number of features.

    Example:
        >>> import torch
        >>> from invflow.transforms import Elementwise
        >>> flow = Flow(Elementwise(features=3, context=2))
        >>> q = flow(torch.randn(5, 2))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([3]))
        >>> x, log_q = q.rsample_and_log_prob((10,))
        >>> torch.allclose(q.log_prob(x), log_q, atol=1e-5)
        True
    """

    __call__: Callable[..., FlowDistribution]

    def __init__(
        self,
        transform: Transform,
        base: str | Mapping[str, Any] | Base = "normal",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(transform, Transform):
            raise TypeError(f"transform must be a Transform, got {type(transform).__name__}")
        self.transform = transform
        self.base = as_base(base, transform.features, generator)
        self.keep_constants()

    _like: Tensor

    def constants(self) -> dict[str, Tensor]:
        # Keeps the dtype and the device of a flow without parameters.
        return {"_like": torch.empty(0)}

    @property
    def features(self) -> int:
        """Size of the vectors, D."""
        return self.transform.features

    @property
    def context(self) -> int:
        """Size of the context, 0 for none."""
        return self.transform.context

    @property
    def like(self) -> Tensor:
        """A tensor with the dtype and device of the samples."""
        return next(self.parameters(), self._like)

    def tempered(self, temperature: float) -> Flow:
        r"""Return the flow with noise of another scale, which shares the weights of this one.

        The deviations of the noise from its centre are multiplied by a temperature T (see
        `Tempered`). Below 1 draws are closer to the typical ones and less varied. The tempered flow
        is a flow too: its densities are those of its own draws.

        Args:
            temperature: T.

        Raises:
            TypeError: if the temperature is not a number.
            ValueError: if it is not positive and finite, or the noise has no centre.

        Example:
            >>> import invflow
            >>> cold = invflow.MAF(features=2).tempered(0.7)
            >>> x, log_q = cold().rsample_and_log_prob((5,))
        """
        tempered = Flow(self.transform, Tempered(self.base, temperature))
        tempered._like = self._like
        return tempered

    def forward(
        self, context: Tensor | None = None, *, validate_args: bool | None = None
    ) -> FlowDistribution:
        """Return the distribution at a context.

        Args:
            context: shape (*batch, context), or None if none was declared.
            validate_args: check values passed to the distribution; None for torch's default.

        Raises:
            TypeError: if the context has the wrong type or dtype.
            ValueError: if the context is missing, not wanted, of the wrong size or on another
                device.
        """
        like = self.like
        batch_shape = context.shape[:-1] if isinstance(context, Tensor) else Size()
        _checks.context(context, self.context, batch_shape, like)
        return FlowDistribution(
            *(self.transform, self.base, context, batch_shape, like),
            validate_args=validate_args,
            flow_name=type(self).__name__,
        )
