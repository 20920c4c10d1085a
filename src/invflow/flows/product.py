"""Groups of features, each with a base of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from invflow import _checks
from invflow.flows.base import Base
from invflow.flows.bases import BASES, as_base, described


class Product(Base):
    r"""Independent groups of features, each with a base of its own: $p(z) = \prod_g p_g(z_g)$.

    Args:
        features: size of the vectors, D.
        groups: the features of each group, counted from 0; every feature is in one group.
        bases: a base for each group, as names, mappings or objects.
        generator: random numbers for the initial weights of the bases, if they have any.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` is below 1, the groups do not hold each feature once, their
            number is not that of the bases, or a base has another number of features.

    Example:
        >>> import torch
        >>> base = Product(3, [[0, 2], [1]], ["normal", {"name": "student-t", "df": 3.0}])
        >>> base.log_prob(torch.zeros(3))
        tensor(-2.8388)
    """

    takes_generator = True

    def __init__(
        self,
        features: int,
        groups: Sequence[Sequence[int]],
        bases: Sequence[str | Mapping[str, Any] | Base],
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(features)
        for name, value in (("groups", groups), ("bases", bases)):
            if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
                raise TypeError(f"{name} must be a sequence, got {value!r}")
        self.groups = [
            list(_checks.places(f"groups[{g}]", group, self.features))
            for g, group in enumerate(groups)
        ]
        if sorted(chain(*self.groups)) != list(range(self.features)):
            raise ValueError(
                f"groups must hold each feature from 0 to {self.features - 1} once, got {groups!r}"
            )
        bases = list(bases)
        if len(bases) != len(self.groups):
            raise ValueError(
                f"bases must have one for each of the {len(self.groups)} groups, got {len(bases)}"
            )
        self.bases = nn.ModuleList(
            as_base(base, len(group), generator)
            for base, group in zip(bases, self.groups, strict=True)
        )

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return all(base.has_rsample for base in self._parts())

    def _parts(self) -> list[Base]:
        return [base for base in self.bases if isinstance(base, Base)]

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        places = list(chain(*self.groups))
        order = sorted(range(self.features), key=places.__getitem__)
        return torch.cat(list(parts), -1)[..., order]

    def rsample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        how: dict[str, Any] = {"dtype": dtype, "device": device, "generator": generator}
        return self._joined([base.rsample(shape, **how) for base in self._parts()])

    @torch.no_grad()
    def sample(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        how: dict[str, Any] = {"dtype": dtype, "device": device, "generator": generator}
        return self._joined([base.sample(shape, **how) for base in self._parts()])

    def log_prob(self, z: Tensor) -> Tensor:
        pairs = zip(self._parts(), self.groups, strict=True)
        return torch.stack([base.log_prob(z[..., group]) for base, group in pairs]).sum(0)

    def config(self) -> dict[str, Any]:
        return {"groups": self.groups, "bases": [described(base) for base in self._parts()]}


BASES["product"] = Product
