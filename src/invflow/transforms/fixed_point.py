r"""The inverse of an autoregressive transform as a fixed point, and its implicit gradient.

$z \leftarrow v(x; P(z, c))$, with v the inverse of the univariate map, has feature d right after d
rounds, whatever it started from, and all of them usually far sooner (Song et al. 2021,
arXiv 2002.03629). With $A = \partial v / \partial z$ at the solution, strictly triangular, the
implicit function theorem gives for a cotangent g of z

$$w = g + A^T w, \qquad \bar\theta = (\partial v / \partial \theta)^T w$$

for $\theta$ the data, the context and the weights; w is found by the same iteration.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.func import functional_call, vjp

from invflow.conditioners import Conditioner
from invflow.univariate import Univariate


def solve(
    conditioner: Conditioner,
    univariate: Univariate,
    x: Tensor,
    context: Tensor | None,
    tolerance: float | None,
) -> Tensor:
    """Return the z that an autoregressive transform maps to `x`, differentiable.

    Args:
        conditioner: gives the parameters.
        univariate: the map of each feature.
        x: data, (*batch, features).
        context: as the conditioner wants it.
        tolerance: stop when no feature moves by more than this times max(1, |feature|);
            None for eight units of rounding.
    """
    state = dict(conditioner.named_parameters())
    limit = 8 * torch.finfo(x.dtype).eps if tolerance is None else tolerance
    step = _Step(conditioner, univariate, list(state), limit)
    contexts = () if context is None else (context,)
    apply = cast(Callable[..., Tensor], _Solve.apply)
    return apply(step, x, *contexts, *state.values())


class _Step:
    """One round, z -> v(x; P(z, context)), as a pure function of tensors."""

    def __init__(
        self, conditioner: Conditioner, univariate: Univariate, names: list[str], limit: float
    ) -> None:
        self.conditioner = conditioner
        self.univariate = univariate
        self.names = names
        self.limit = limit
        self.features = conditioner.features

    def __call__(self, z: Tensor, x: Tensor, *tensors: Tensor) -> Tensor:
        cut = len(tensors) - len(self.names)
        context, state = tensors[:cut], tensors[cut:]
        values = dict(zip(self.names, state, strict=True))
        params = functional_call(self.conditioner, values, (z, *context))
        return self.univariate.inverse(x, params)[0]

    def iterate(self, update: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
        """Apply an update that is exact after one round per feature, until nothing moves."""
        value = start
        for _ in range(self.features):
            # A feature that is not right yet may be anything; only as a number does it stay out
            # of the features before it, whose masked weights for it are zero.
            after = update(value).nan_to_num(0.0, 0.0, 0.0)
            moved = (after - value).abs() - self.limit * after.abs().clamp(min=1)
            value = after
            if not bool((moved > 0).any()):
                break
        return value


def _one_by_one(function: type[Function], info: Any, in_dims: Any, arguments: Any) -> Any:
    """Run under vmap one element at a time: each stops when it has converged."""
    runs = [
        cast(Any, function).apply(
            *(
                argument if dim is None else argument.select(dim, i)
                for argument, dim in zip(arguments, in_dims, strict=True)
            )
        )
        for i in range(info.batch_size)
    ]
    if isinstance(runs[0], Tensor):
        return torch.stack(runs), 0
    return tuple(torch.stack(results) for results in zip(*runs, strict=True)), 0


class _Solve(Function):
    @staticmethod
    def forward(step: _Step, x: Tensor, *tensors: Tensor) -> Tensor:
        return step.iterate(lambda z: step(z, x, *tensors), torch.zeros_like(x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.step, *tensors = inputs
        ctx.save_for_backward(output, *tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        apply = cast(Callable[..., tuple[Tensor, ...]], _Pull.apply)
        return None, *apply(ctx.step, cotangents[0], *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _one_by_one(_Solve, info, in_dims, arguments)


class _Pull(Function):
    @staticmethod
    def forward(step: _Step, g: Tensor, z: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        def of_z(z: Tensor) -> Tensor:
            return step(z, *tensors)

        def of_tensors(*tensors: Tensor) -> Tensor:
            return step(z, *tensors)

        pull_z = vjp(of_z, z)[1]
        w = step.iterate(lambda w: g + pull_z(w)[0], g)
        return vjp(of_tensors, *tensors)[1](w)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        raise RuntimeError(
            "the fixed-point inverse has first derivatives only; "
            'for higher ones build the transform with inverse="passes"'
        )

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _one_by_one(_Pull, info, in_dims, arguments)
