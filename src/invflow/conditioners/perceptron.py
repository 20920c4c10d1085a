"""A plain perceptron, for transforms that leave some features unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks
from invflow.conditioners.activation import ACTIVATIONS


class Perceptron(nn.Module):
    r"""A multilayer perceptron of features and context, without masks.

    $$a_1 = W_1 z + C c + b_1, \qquad a_l = W_l\, \phi(a_{l-1}) + b_l$$

    The last layer's weights start small, so the outputs start near `start`.

    Args:
        features: number of input features.
        start: the value each output starts from; its length is the number of outputs.
        hidden_features: widths of the hidden layers; may be empty.
        context: size of the context, 0 for none.
        activation: by name, as for `MADE`.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` or a width is below 1, `context` is negative, or `activation` is
            unknown.

    Example:
        >>> import torch
        >>> perceptron = Perceptron(features=3, start=(0.0, 1.0), context=2)
        >>> perceptron(torch.randn(5, 3), torch.randn(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        features: int,
        start: Sequence[float],
        hidden_features: Sequence[int] = (64, 64),
        context: int = 0,
        *,
        activation: str = "elu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        features = _checks.positive_integer("features", features)
        start = _checks.numbers("start", start)
        context = _checks.positive_integer("context", context, minimum=0)
        hidden = _checks.widths("hidden_features", hidden_features)
        self.context = context
        self.activation = _checks.choice("activation", activation, ACTIVATIONS)
        units = (features, *hidden, len(start))
        self.weights = nn.ParameterList(
            torch.empty(after, before) for before, after in pairwise(units)
        )
        self.biases = nn.ParameterList(torch.zeros(size) for size in units[1:])
        self.context_weight = nn.Parameter(torch.empty(units[1], context)) if context else None
        self._initialise(start, generator)

    @torch.no_grad()
    def _initialise(self, start: Sequence[float], generator: torch.Generator | None) -> None:
        *hidden, last = self.weights
        for weight in hidden:
            nn.init.orthogonal_(weight, 0.7, generator)
        nn.init.orthogonal_(last, 0.01, generator)
        if self.context_weight is not None:
            nn.init.orthogonal_(self.context_weight, 0.7 if hidden else 0.01, generator)
        self.biases[-1].copy_(torch.tensor(start))

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the outputs, shape (*batch, outputs), in the dtype of `z`.

        Args:
            z: features, shape (*batch, features).
            context: shape broadcastable to (*batch, context), or None if none was declared.

        Raises:
            TypeError: if the context is not a tensor, or has another dtype.
            ValueError: if the context is missing, was not declared or has the wrong shape.
        """
        _checks.context(context, self.context, z.shape[:-1], self.weights[0])
        activation = ACTIVATIONS[self.activation].function
        rows = F.linear(z, self.weights[0], self.biases[0])
        if self.context_weight is not None:
            rows = rows + F.linear(cast(Tensor, context), self.context_weight)
        for weight, bias in zip(list(self.weights)[1:], list(self.biases)[1:], strict=True):
            rows = F.linear(activation(rows), weight, bias)
        return rows.to(z.dtype)
