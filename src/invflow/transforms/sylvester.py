"""The Sylvester transform."""

from __future__ import annotations

import torch
from torch import Tensor

from invflow import _checks
from invflow.transforms import root
from invflow.transforms.amortised import Amortised
from invflow.transforms.basis import ORTHONORMAL, Basis
from invflow.transforms.positive import positive, ratio


class Sylvester(Amortised):
    r"""A planar transform with M units: a one-layer network added to its input.

    $$x = z + Q R \tanh a, \quad a = \tilde R Q^\top z + b, \qquad
    \log|\det dx/dz| = \sum_i \log(1 + s_i \tanh' a_i), \quad s_i = r_{ii} \tilde r_{ii} > -1$$

    with M orthonormal columns Q, upper triangular $R$ and $\tilde R$, and b, all learned or linear
    in the context. The free parameter behind $r_{ii}$ is $\rho_i$: $r_{ii} \tilde r_{ii} = m(k_i)$
    with
    $k_i = \rho_i \tilde r_{ii}$ and $m(k) = k + \sqrt{1 + k^2} - 1 > -1$. It starts at the
    identity, R = 0. There are three ways to obtain Q:

    - "orthogonal": orthonormalise any D x M matrix.
    - "householder": take the first columns of a product of reflections.
    - "triangular": Q is the identity, or the reverse permutation with `Permuted(reverse=True)`; the
      two should alternate.

    Inverse: with $v = Q^\top z$ and $w = Q^\top x$, solve $v + R \tanh(\tilde R v + b) = w$. The
    last row contains only $v_M$, the one before it $v_{M-1}$ and $v_M$, and so on. So, from the
    last row upwards, each is a scalar equation, $a_i + s_i \tanh a_i = \tilde r_{ii} d_i + c_i$
    with $c_i = b_i + \sum_{j>i} \tilde r_{ij} v_j$ and $d_i = w_i - \sum_{j>i} r_{ij} \tanh a_j$,
    and $v_i = d_i - r_{ii} \tanh a_i$; finally $z = x + Q (v - w)$. Its first three derivatives are
    exact.

    Args:
        features: number of features, D.
        columns: number of orthonormal columns, M, at most D; None for D.
        basis: "orthogonal", "householder", "triangular", or an object.
        context: size of the context, 0 for none.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` or `columns` is below 1, there are more columns than features,
            `context` is negative, or the basis is unknown.

    References:
        van den Berg et al. 2018, arXiv 1803.05649, section 3.

    Example:
        >>> import torch
        >>> transform = Sylvester(features=3, columns=2, context=2)
        >>> z, context = torch.randn(5, 3), torch.randn(5, 2)
        >>> x, ladj = transform(z, context)
        >>> x.shape, ladj.shape
        (torch.Size([5, 3]), torch.Size([5]))
        >>> torch.allclose(transform.inverse(x, context)[0], z, atol=1e-5)
        True
    """

    def __init__(
        self,
        features: int,
        columns: int | None = None,
        basis: str | Basis = "orthogonal",
        *,
        context: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(features, context)
        m = features if columns is None else _checks.positive_integer("columns", columns)
        if m > features:
            raise ValueError(
                f"columns must be at most the number of features, {features}, got {columns}"
            )
        self.columns = m
        if not isinstance(basis, Basis):
            basis = ORTHONORMAL.choose(basis)()
        self.basis = basis
        frame = basis.start(features, m, generator)
        self._declare([torch.zeros(m, m), torch.ones(m), torch.zeros(m), frame], generator)

    def _map(self, z: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        q, outer, inner, rise = self._matrices(*tensors)
        a = _times(inner, _times(q.mT, z)) + tensors[2]
        return z + _times(q, _times(outer, torch.tanh(a))), _ladj(a, rise)

    def _unmap(self, x: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        q, outer, inner, rise = self._matrices(*tensors)
        w = _times(q.mT, x)
        v, a = _backwards(w, tensors[2], outer, inner, rise)
        return x + _times(q, v - w), -_ladj(a, rise)

    def _matrices(
        self, square: Tensor, diagonal: Tensor, b: Tensor, frame: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return Q, R, R~ and the 1 + s_i.

        One square matrix holds R on and above its diagonal, and the transpose of R~ below it.
        """
        free = square.diagonal(dim1=-2, dim2=-1)
        k = free * diagonal
        outer = square.triu(1) + torch.diag_embed(free * ratio(k))
        inner = square.tril(-1).mT + torch.diag_embed(diagonal)
        return self.basis.columns(frame, self.features, self.columns), outer, inner, positive(k)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _ladj(a: Tensor, rise: Tensor) -> Tensor:
    return torch.log(root.slope(a, rise)).sum(-1)


def _backwards(
    w: Tensor, b: Tensor, outer: Tensor, inner: Tensor, rise: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve v + R tanh a = w, a = R~ v + b, starting with the last row; return v and a.

    Once a row is solved, its column is added to the rows before it: c and d accumulate, and at the
    end d is v.
    """
    c, d = b, w
    solved: list[Tensor] = []
    for i in reversed(range(w.shape[-1])):
        a = root.solve(rise[..., i], inner[..., i, i] * d[..., i] + c[..., i])
        d = d - outer[..., i] * torch.tanh(a).unsqueeze(-1)
        c = c + inner[..., i] * d[..., i, None]
        solved.append(a)
    return d, torch.stack(solved[::-1], -1)
