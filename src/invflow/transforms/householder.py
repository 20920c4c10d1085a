"""Products of reflections."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow import _checks
from invflow.transforms.amortised import Amortised


def reflect(z: Tensor, vectors: Tensor) -> Tensor:
    """Reflect `z` in the plane orthogonal to the first vector, then the second, and so on.

    Args:
        z: shape (*batch, D).
        vectors: shape (*batch, H, D), of any length; a zero vector reflects nothing.

    Example:
        >>> reflect(torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 0.0], [0.0, -1.0]]))
        tensor([-1., -2.])
    """
    for unit in F.normalize(vectors, dim=-1).unbind(-2):
        z = z - 2 * unit * (unit * z).sum(-1, keepdim=True)
    return z


def pairs(features: int, reflections: int, generator: torch.Generator | None) -> Tensor:
    """Return random vectors, each twice, so that their reflections cancel.

    Args:
        features: length of the vectors.
        reflections: number of vectors; if odd, the last one has no partner.
        generator: random numbers; torch's own by default.
    """
    half = torch.randn((reflections + 1) // 2, features, generator=generator)
    return half.repeat_interleave(2, 0)[:reflections]


class Householder(Amortised):
    r"""A product of reflections, with log-determinant zero.

    $$x = H_T \cdots H_1 z, \qquad H_t = I - 2 \frac{v_t v_t^\top}{|v_t|^2}$$

    with vectors $v_t$ that are learned or linear in the context. The product is an orthogonal
    matrix with determinant $(-1)^T$; with T = D, all of these can be reached. The vectors start in
    pairs whose reflections cancel, so an even T starts at the identity.

    Args:
        features: number of features, D.
        reflections: number of reflections, T.
        context: size of the context, 0 for none.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if `features` or `reflections` is below 1, or `context` is negative.

    References:
        Tomczak and Welling 2016, arXiv 1611.09630.

    Example:
        >>> import torch
        >>> transform = Householder(features=3, reflections=2, context=2)
        >>> z, context = torch.randn(5, 3), torch.randn(5, 2)
        >>> x, ladj = transform(z, context)
        >>> torch.allclose(x.norm(dim=-1), z.norm(dim=-1)), ladj
        (True, tensor([0., 0., 0., 0., 0.]))
    """

    def __init__(
        self,
        features: int,
        reflections: int = 8,
        *,
        context: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(features, context)
        reflections = _checks.positive_integer("reflections", reflections)
        self._declare([pairs(self.features, reflections, generator)], generator)

    def _map(self, z: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        return reflect(z, tensors[0]), z.new_zeros(z.shape[:-1])

    def _unmap(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        return reflect(x, tensors[0].flip(-2)), x.new_zeros(x.shape[:-1])
