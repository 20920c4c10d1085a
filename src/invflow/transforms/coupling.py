"""The coupling transform: some features are kept and determine how the others change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invflow import _checks
from invflow.conditioners import Perceptron
from invflow.transforms.base import Transform
from invflow.univariate import Univariate
from invflow.univariate import univariate as as_univariate

MASKS = ("alternating", "halves")


def masks(how: str, features: int, count: int) -> list[Tensor]:
    """Return the masks of `count` consecutive couplings, which alternate.

    Args:
        how: "alternating" to keep features 0, 2, 4, ... first; "halves" to keep the first (larger)
            half first.
        features: number of features, D, at least 2.
        count: number of masks.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if `how` is unknown, or a size is too small.

    Example:
        >>> masks("halves", 3, 2)
        [tensor([ True,  True, False]), tensor([False, False,  True])]
    """
    return [torch.tensor(kept, device="cpu") for kept in turns(how, features, count)]


def turns(how: str, features: int, count: int) -> list[list[bool]]:
    """Return `masks` as lists, which have values even under `FakeTensorMode`."""
    _checks.choice("mask", how, MASKS)
    features = _check_features(features)
    half = (features + 1) // 2
    first = [i % 2 == 0 if how == "alternating" else i < half for i in range(features)]
    second = [not kept for kept in first]
    return [second if k % 2 else first for k in range(_checks.positive_integer("count", count))]


class Coupling(Transform):
    r"""A univariate map of some features, whose parameters are computed from the others.

    $$x_K = z_K, \qquad x_i = u(z_i;\, P_i(z_K, c)) \text{ for } i \notin K, \qquad
    \log|\det dx/dz| = \sum_{i \notin K} \log|\partial u / \partial z_i|$$

    with a perceptron P of the kept features K and the context. Both directions take one pass.

    Args:
        features: number of features, D, at least 2.
        univariate: the map of each changed feature, by name or as an object.
        mask: which features are kept: "alternating" (0, 2, 4, ...), "halves" (the first half), or D
            booleans. `masks` returns the masks of several consecutive couplings.
        context: size of the context, 0 for none.
        hidden_features: widths of the perceptron's hidden layers.
        activation: of the perceptron, by name as for `MADE`.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` is below 2, a size is out of range, a name is unknown, or the mask
            has another length, keeps no feature or keeps all.

    References:
        Dinh et al. 2015, arXiv 1410.8516; Dinh et al. 2017, arXiv 1605.08803, section 3.2.

    Example:
        >>> import torch
        >>> coupling = Coupling(features=3, mask=[False, True, False], context=2)
        >>> x, ladj = coupling(torch.randn(5, 3), torch.randn(5, 2))
        >>> x.shape, ladj.shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    settled = Transform.settled | {"kept"}
    order: Tensor

    def __init__(
        self,
        features: int,
        univariate: str | Mapping[str, Any] | Univariate = "affine",
        *,
        mask: str | Sequence[bool] | Tensor = "alternating",
        context: int = 0,
        hidden_features: Sequence[int] = (64, 64),
        activation: str = "elu",
        generator: torch.Generator | None = None,
    ) -> None:
        features = _check_features(features)
        super().__init__(features, context)
        self.univariate = as_univariate(univariate)
        keep = turns(mask, features, 1)[0] if isinstance(mask, str) else _mask(mask, features)
        # Kept features first, then changed ones.
        positions = sorted(range(features), key=lambda i: not keep[i])
        self.register_buffer("order", _checks.permutation("order", positions, features))
        self.kept = sum(keep)
        start = self.univariate.start * (features - self.kept)
        self.perceptron = Perceptron(
            self.kept, start, hidden_features, context, activation=activation, generator=generator
        )

    def flaw(self, name: str, tensor: Tensor) -> str | None:
        return _checks.no_permutation(tensor, self.features)

    def _split(self, values: Tensor) -> tuple[Tensor, Tensor]:
        ordered = values.index_select(-1, self.order)
        return ordered[..., : self.kept], ordered[..., self.kept :]

    def _joined(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([kept, moved], -1).index_select(-1, self.order.argsort())

    def _params(self, kept: Tensor, context: Tensor | None) -> Tensor:
        return self.perceptron(kept, context).unflatten(-1, (-1, self.univariate.parameters))

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, moved = self._split(z)
        moved, ladj = self.univariate.forward(moved, self._params(kept, context))
        return self._joined(kept, moved), ladj.sum(-1)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, moved = self._split(x)
        moved, ladj = self.univariate.inverse(moved, self._params(kept, context))
        return self._joined(kept, moved), ladj.sum(-1)


def _check_features(features: int) -> int:
    found = _checks.positive_integer("features", features)
    if found < 2:
        raise ValueError(
            "features must be at least 2 for a coupling, got 1: "
            "for a single feature use an autoregressive flow, such as 'nsf' or 'maf'"
        )
    return found


def _mask(value: Sequence[bool] | Tensor, features: int) -> list[bool]:
    if isinstance(value, Tensor) and not _checks.has_values(value):
        raise ValueError(f"mask must have values, got a tensor on {value.device} without any")
    try:
        mask = np.asarray(value.tolist() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"mask must be a name or a sequence of booleans, got {value!r}") from error
    if mask.dtype != np.bool_:
        raise TypeError(f"mask must be a name or a sequence of booleans, got {value!r}")
    if mask.shape != (features,):
        raise ValueError(f"mask must have shape ({features},), got {mask.shape}")
    if mask.all() or not mask.any():
        kept = mask.sum()
        raise ValueError(f"mask must keep some features and change some, got one that keeps {kept}")
    return mask.tolist()
