"""The forward sweep: one opaque operator on plain tensors.

It is a single step for `torch.compile`, whatever the number of features, and for `torch.func`,
which folds its own dimension into the batch. Tensors here are feature-major: [features, batch] and
[units, batch].
"""

from __future__ import annotations

import dataclasses
import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor

from invflow import univariate as univariates
from invflow._folded import folded
from invflow._held import Held
from invflow._operator import fake, mapped, operator
from invflow.conditioners import CONDITIONERS, CachedConditioner, Plan
from invflow.conditioners.soft_clip import soft_clip
from invflow.univariate import Univariate

#: z, the parameters and the decoder's hidden state.
Solution = tuple[Tensor, Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class Method:
    """How to read the tensors of a sweep: the conditioner's name and plan, and the map.

    The plan and the map are also kept as strings, which the operators take and by which methods are
    compared. What the conditioner reads of the features is bounded (see `soft_clip`).

    Args:
        kind: name of the conditioner; "" if it is not one of the library's.
        plan: the conditioner's plan.
        univariate: the map.
        input_bound: bound on what the conditioner reads.
    """

    kind: str
    plan: Plan = dataclasses.field(compare=False)
    univariate: Univariate = dataclasses.field(compare=False)
    input_bound: float = math.inf
    plan_recipe: str = dataclasses.field(init=False)
    univariate_recipe: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        recipe = self.plan.recipe if self.kind else _PLANS.string(self.plan)
        object.__setattr__(self, "plan_recipe", recipe)
        object.__setattr__(self, "univariate_recipe", univariates.to_recipe(self.univariate))

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild copies: a string may identify a plan or a map in one process only."""
        return Method, (self.kind, self.plan, self.univariate, self.input_bound)

    @property
    def recipes(self) -> tuple[str, str, float]:
        """Everything but the kind, as the operators take it."""
        return self.plan_recipe, self.univariate_recipe, self.input_bound


#: The plans of users' own conditioners.
_PLANS: Held[Plan] = Held()


def plan_of(kind: str, recipe: str) -> Plan:
    """Return the plan with this recipe of the conditioner with this name."""
    if not kind:
        return _PLANS[recipe]
    return cast(type[CachedConditioner], CONDITIONERS[kind]).plan_from(recipe)


def unmixed(like: Tensor) -> AbstractContextManager[object]:
    """Disable autocast: a sweep runs in the dtype of its tensors, or rounding would add up."""
    device = like.device.type
    if torch.compiler.is_exporting() and not torch.is_autocast_enabled(device):
        return nullcontext()  # nothing to write into the program
    return torch.autocast(device, enabled=False)


def by_feature(params: Tensor, univariate: Univariate) -> Tensor:
    """Return parameters, [features * outputs, batch], as [features, outputs, batch]."""
    return params.unflatten(0, (-1, univariate.parameters))


def decoded(method: Method, x: Tensor, offset: Tensor, weights: list[Tensor]) -> Solution:
    """Do what `decode` does in PyTorch's own operations, which `torch.export` can write down."""
    return _swept(method.plan, method.univariate, method.input_bound, x, offset, weights)


def _swept(
    plan: Plan,
    map: Univariate,
    input_bound: float,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> Solution:
    decoder, solve = plan.decoder(offset, weights), map.solver(x)
    z: list[Tensor] = []
    with unmixed(x):
        for group, rows in enumerate(x.contiguous().split(list(plan.groups(len(x))))):
            z.append(solve(rows, by_feature(decoder.parameters(group), map).transpose(1, 2)))
            decoder.append(group, soft_clip(z[-1], input_bound))
    return torch.cat(z), decoder.params, decoder.hidden


@operator
def decode(
    kind: str,
    recipe: str,
    univariate: str,
    input_bound: float,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """The forward sweep: z, parameters, and the decoder's hidden state."""
    plan, map = plan_of(kind, recipe), univariates.from_recipe(univariate)
    return _swept(plan, map, input_bound, x, offset, weights)


@fake(decode)
def _(
    kind: str,
    recipe: str,
    univariate: str,
    input_bound: float,
    x: Tensor,
    offset: Tensor,
    weights: list[Tensor],
) -> Solution:
    features, batch = x.shape
    outputs = univariates.from_recipe(univariate).parameters
    units = plan_of(kind, recipe).hidden_units
    return (
        x.new_empty(features, batch),
        x.new_empty(features * outputs, batch),
        x.new_empty(units, batch),
    )


@mapped(decode)
def _(info: Any, in_dims: Any, *arguments: Any) -> Any:
    return folded(decode, 4, (-1, -1), (-1, -1, -1), info, in_dims, arguments)
