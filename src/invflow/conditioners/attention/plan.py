"""The sweeps of a transformer on plain tensors."""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache
from typing import Any

from torch import Tensor

from invflow.conditioners import groups
from invflow.conditioners.attention.decoder import AttentionDecoder
from invflow.conditioners.attention.gradients import gradients
from invflow.conditioners.attention.pullback import AttentionPullback
from invflow.conditioners.attention.record import Record
from invflow.conditioners.attention.weights import Weights
from invflow.conditioners.base import ReversiblePlan
from invflow.conditioners.groups import Group


@dataclasses.dataclass(frozen=True)
class AttentionPlan(ReversiblePlan):
    """A transformer over plain tensors.

    Args:
        features: number of features.
        group: their groups, each with a token.
        width: size of a token.
        depth: number of blocks.
        heads: of each block.
    """

    features: int
    group: Group
    width: int
    depth: int
    heads: int

    @property
    def recipe(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    @lru_cache(maxsize=256)
    def from_recipe(recipe: str) -> AttentionPlan:
        """Return the plan that a recipe describes; cached, because it depends on nothing else."""
        fields: dict[str, Any] = json.loads(recipe)
        fields["group"] = groups.from_json(fields["group"])
        return AttentionPlan(**fields)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of features in each group."""
        return groups.sizes(self.group, self.features)

    def groups(self, features: int) -> tuple[int, ...]:
        return self.sizes

    @property
    def hidden_units(self) -> int:
        return len(self.sizes) * self.width

    def empty_deltas(self, hidden: Tensor) -> Tensor:
        return Record.empty(hidden, len(self.sizes), self.width, self.depth).columns

    def decoder(self, offset: Tensor, weights: list[Tensor]) -> AttentionDecoder:
        return AttentionDecoder(self.sizes, self.heads, offset, Weights.of(weights))

    def pullback(self, hidden: Tensor, weights: list[Tensor]) -> AttentionPullback:
        return AttentionPullback(self.sizes, self.heads, hidden, Weights.of(weights))

    def gradients(
        self, weights: list[Tensor], z: Tensor, hidden: Tensor, deltas: Tensor, params: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        record = Record.of(deltas, len(self.sizes), self.width, self.depth)
        offset, found = gradients(self.sizes, Weights.of(weights), z, record, params)
        return offset, [*found.flat]
