"""A base distribution and a transform: a family of distributions indexed by a context."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Size, Tensor, nn

from invflow import _checks
from invflow.flows import saving
from invflow.flows.base import Base, StandardNormal
from invflow.flows.distribution import FlowDistribution
from invflow.transforms import Transform


class Flow(nn.Module):
    """A normalizing flow: call it, with a context where it has one, for a distribution.

    Args:
        transform: maps noise to data.
        base: the distribution of the noise; a standard normal by default.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: a base over another number of features.

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

    def __init__(self, transform: Transform, base: Base | None = None) -> None:
        super().__init__()
        if not isinstance(transform, Transform):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"transform must be a Transform, got {type(transform).__name__}")
        base = StandardNormal(transform.features) if base is None else base
        if not isinstance(base, Base):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"base must be a Base, got {type(base).__name__}")
        if base.features != transform.features:
            raise ValueError(
                f"base must be over {transform.features} features, got {base.features}"
            )
        self.transform = transform
        self.base = base

    @property
    def features(self) -> int:
        """Size of the vectors, D."""
        return self.transform.features

    @property
    def context(self) -> int:
        """Size of the context, 0 for none."""
        return self.transform.context

    def forward(
        self, context: Tensor | None = None, *, validate_args: bool | None = None
    ) -> FlowDistribution:
        """Return the distribution at a context.

        Args:
            context: shape (*batch, context), or None where none was declared.
            validate_args: check values given to the distribution; None for torch's default.

        Raises:
            TypeError: a context of the wrong type or dtype.
            ValueError: a context missing, not wanted, of the wrong size or on another device.
        """
        like = next(self.parameters(), torch.empty(0))
        batch_shape = Size() if context is None else context.shape[:-1]
        _checks.context(context, self.context, like.new_empty(*batch_shape, 1), like)
        return FlowDistribution(
            self.transform, self.base, context, batch_shape, like, validate_args
        )
