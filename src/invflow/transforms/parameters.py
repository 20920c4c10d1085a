"""Parameters of a transform that may depend on the context."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Parameters(nn.Module):
    r"""A vector that is learned or, with a context, linear in it: $p = b + C c$.

    With an encoder's output as the context, the transform is amortised.

    Args:
        start: initial value of b, shape (size,).
        context: size of the context, 0 for none.
        generator: random numbers for C, which starts small; torch's own by default.

    Example:
        >>> import torch
        >>> parameters = Parameters(torch.zeros(3), context=2)
        >>> parameters(torch.randn(5, 2), like=torch.zeros(5, 4)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self, start: Tensor, context: int = 0, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.bias = nn.Parameter(start.clone())
        self.weight = nn.Parameter(start.new_empty(len(start), context)) if context else None
        if self.weight is not None:
            nn.init.orthogonal_(self.weight, 0.01, generator)

    def forward(self, context: Tensor | None, like: Tensor) -> Tensor:
        """Return p in the dtype of `like`: (size,) without a context, otherwise (*batch, size)."""
        if self.weight is None or context is None:
            return self.bias.to(like.dtype)
        dtype = torch.promote_types(self.bias.dtype, like.dtype)
        wide = (value.to(dtype) for value in (context, self.weight, self.bias))
        return F.linear(*wide).to(like.dtype)
