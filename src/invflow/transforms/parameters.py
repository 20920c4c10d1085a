"""Parameters of a transform that may depend on the context."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Gain of parameters that should hardly depend on the context before training.
SMALL = 0.01


class Parameters(nn.Module):
    r"""A vector that is learned or, with a context, linear in it: $p = b + C c$.

    With an encoder's output as the context, the transform is amortised. Entries of C start normal,
    with standard deviation $g / \sqrt{\text{context}}$ for a gain g of each parameter: contexts of
    unit variance give a parameter the standard deviation g.

    Args:
        start: initial value of b, shape (size,).
        context: size of the context, 0 for none.
        generator: random numbers for C; torch's own by default.
        gain: g, shape (size,) or one for all.

    Example:
        >>> import torch
        >>> parameters = Parameters(torch.zeros(3), context=2)
        >>> parameters(torch.randn(5, 2), like=torch.zeros(5, 4)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        start: Tensor,
        context: int = 0,
        generator: torch.Generator | None = None,
        *,
        gain: Tensor | float = SMALL,
    ) -> None:
        super().__init__()
        self.bias = nn.Parameter(start.clone())
        self.weight = nn.Parameter(start.new_empty(len(start), context)) if context else None
        if self.weight is not None:
            rows = torch.as_tensor(gain).to(start).expand(len(start))
            with torch.no_grad():
                self.weight.normal_(0, context**-0.5, generator=generator).mul_(rows.unsqueeze(-1))

    def forward(self, context: Tensor | None, like: Tensor) -> Tensor:
        """Return p in the dtype of `like`: (size,) without a context, otherwise (*batch, size)."""
        if self.weight is None or context is None:
            return self.bias.to(like.dtype)
        dtype = torch.promote_types(self.bias.dtype, like.dtype)
        wide = (value.to(dtype) for value in (context, self.weight, self.bias))
        return F.linear(*wide).to(like.dtype)
