"""A learned invertible matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.linalg import solve_triangular

from invflow import _checks
from invflow.transforms.base import Transform
from invflow.transforms.permutation import ORDERS, randperm

#: Limit of the logarithm of a diagonal entry, so that neither direction can overflow.
_BOUND = 5.0


class LULinear(Transform):
    r"""An invertible matrix as an LU decomposition; over channels, Glow's 1x1 convolution.

    $$x = P L U z + b, \qquad \log|\det dx/dz| = \sum_i s_i$$

    with a fixed permutation P, a lower triangular L with ones on its diagonal, and an upper
    triangular U whose diagonal is $e^{s}$, $s = 5 \tanh(r / 5)$. One learned matrix holds L below
    its diagonal, r on it, and U above it; it starts at zero, which makes $L = U = I$. The inverse
    solves two triangular systems.

    Args:
        features: number of features, D.
        order: P, with $(Pv)_i = v_{\text{order}_i}$: "same" (the identity), "reverse", "random",
            or a permutation of 0 .. D - 1.
        generator: random numbers for a random order; torch's own by default.

    Raises:
        TypeError: if `order` does not hold integers.
        ValueError: if `features` is below 1, or `order` is unknown or not a permutation.

    References:
        Kingma and Dhariwal 2018, arXiv 1807.03039, section 3.2, eq. 10-11.

    Example:
        >>> import torch
        >>> LULinear(3, order=[2, 0, 1])(torch.tensor([1.0, 2.0, 3.0]))[0]
        tensor([3., 1., 2.], grad_fn=<AddBackward0>)
    """

    order: Tensor

    def __init__(
        self,
        features: int,
        order: str | Sequence[int] | Tensor = "same",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(features)
        features = self.features
        self.weight = nn.Parameter(torch.zeros(features, features))
        positions = _permutation(order, features, generator)
        self.register_buffer("order", positions.to(self.weight.device))
        self.bias = nn.Parameter(torch.zeros(features))

    def flaw(self, name: str, tensor: Tensor) -> str | None:
        return _checks.no_permutation(tensor, self.features) if name == "order" else None

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return L, U and the logarithm of U's diagonal."""
        log_diagonal = torch.tanh(self.weight.diagonal() / _BOUND) * _BOUND
        lower = self.weight.tril(-1) + torch.eye(
            self.features, dtype=self.weight.dtype, device=self.weight.device
        )
        upper = self.weight.triu(1) + torch.diag(log_diagonal.exp())
        return lower, upper, log_diagonal

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        lower, upper, log_diagonal = self._factors()
        product = F.linear(F.linear(z, upper), lower)
        x = product.index_select(-1, self.order) + self.bias
        return x.to(z.dtype), log_diagonal.sum().to(z.dtype).expand(z.shape[:-1])

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        lower, upper, log_diagonal = self._factors()
        rows = (x - self.bias).index_select(-1, self.order.argsort())
        rows = rows.reshape(-1, self.features).to(lower.dtype)
        # Vectors are rows here, so the factors are on the right, transposed.
        rows = solve_triangular(lower.t(), rows, upper=True, left=False, unitriangular=True)
        rows = solve_triangular(upper.t(), rows, upper=False, left=False)
        z = rows.reshape(x.shape)
        return z.to(x.dtype), -log_diagonal.sum().to(x.dtype).expand(x.shape[:-1])


def _permutation(
    order: str | Sequence[int] | Tensor, features: int, generator: torch.Generator | None
) -> Tensor:
    if not isinstance(order, str):
        return _checks.permutation("order", order, features)
    match _checks.choice("order", order, ORDERS):
        case "random":
            return randperm(features, generator)
        case "reverse":
            return torch.arange(features).flip(0)
        case _:
            return torch.arange(features)
