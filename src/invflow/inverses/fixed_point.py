r"""The inverse of an autoregressive transform as a fixed point, and its implicit gradient.

$z \leftarrow v(x; P(r(z), c))$, with v the inverse of the univariate map and r clipping what the
conditioner reads, has feature d right after d
rounds, whatever it started from, and all of them usually far sooner (Song et al. 2021,
arXiv 2002.03629). With $A = \partial v / \partial z$ at the solution, strictly triangular, the
implicit function theorem gives for a cotangent g of z

$$w = g + A^T w, \qquad \bar\theta = (\partial v / \partial \theta)^T w$$

for $\theta$ the data, the context and the weights; w is found by the same iteration.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.func import functional_call, vjp

from invflow._operator import reverse_only
from invflow.conditioners import Conditioner
from invflow.conditioners.soft_clip import soft_clip
from invflow.univariate import Univariate

#: Larger guesses than this do not come any closer; they only overflow.
_LARGE = 1e4


def solve(
    conditioner: Conditioner,
    univariate: Univariate,
    input_bound: float,
    x: Tensor,
    context: Tensor | None,
    tolerance: float | None,
) -> Tensor:
    """Return the z that an autoregressive transform maps to `x`, differentiable.

    Args:
        conditioner: gives the parameters.
        univariate: the map of each feature.
        input_bound: the bound of what the conditioner reads.
        x: data, (*batch, features).
        context: as the conditioner wants it.
        tolerance: stop when no feature moves by more than this times max(1, |feature|), and on
            the way back by more than this times the largest cotangent of the same vector;
            None for eight units of rounding.
    """
    state = {**dict(conditioner.named_parameters()), **dict(conditioner.named_buffers())}
    limit = 8 * torch.finfo(x.dtype).eps if tolerance is None else tolerance
    step = _Step(conditioner, univariate, input_bound, list(state), limit, x.device.type)
    contexts = () if context is None else (context,)
    return reverse_only(_Solve, step, x, *contexts, *state.values())


class _Step:
    """One round, z -> v(x; P(r(z), context)), as a pure function of tensors."""

    def __init__(
        self,
        conditioner: Conditioner,
        univariate: Univariate,
        input_bound: float,
        names: list[str],
        limit: float,
        device: str,
    ) -> None:
        # The way back, which may come after autocast has ended, is in the precision of the way in.
        self.autocast = partial(
            torch.autocast,
            device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
        )
        self.conditioner = conditioner
        self.univariate = univariate
        self.input_bound = input_bound
        self.names = names
        self.limit = limit
        self.features = conditioner.features

    def __call__(self, z: Tensor, x: Tensor, *tensors: Tensor) -> Tensor:
        cut = len(tensors) - len(self.names)
        context, state = tensors[:cut], tensors[cut:]
        values = dict(zip(self.names, state, strict=True))
        with self.autocast():
            read = soft_clip(z, self.input_bound)
            params = functional_call(self.conditioner, values, (read, *context))
            return self.univariate.inverse(x, params)[0]

    def settled(self, before: Tensor, after: Tensor, scale: Tensor) -> bool:
        """Whether nothing has moved by more than the limit times `scale`."""
        beyond = (after - before).abs() - self.limit * scale
        return bool((beyond <= 0).all())  # what is not finite has not settled


def _one_by_one(function: type[Function], info: Any, in_dims: Any, arguments: Any) -> Any:
    """Run under vmap one element at a time: each stops when it has converged."""
    runs = [
        cast(Any, function).apply(
            *(
                argument.select(dim, i) if isinstance(dim, int) else argument
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
        guess, z = torch.zeros_like(x), x
        for exact in range(1, step.features + 1):
            z = step(guess, x, *tensors)
            # A feature that is not exact yet may be anything, but only as a moderate number does
            # it stay out of the features before it, whose weights for it are zero.
            if step.settled(guess, z, z.abs().clamp(min=1)):
                break
            guess = z.nan_to_num(0.0, 0.0, 0.0)
            rest = guess[..., exact:].clamp(-_LARGE, _LARGE)
            guess = torch.cat([guess[..., :exact], rest], -1)
        return z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.step, *tensors = inputs
        ctx.save_for_backward(output, *tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        wanted = ctx.needs_input_grad[1:]
        pulled = reverse_only(_Pull, ctx.step, wanted, cotangents[0], *ctx.saved_tensors)
        gradients = iter(pulled)
        return None, *(next(gradients) if needed else None for needed in wanted)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _one_by_one(_Solve, info, in_dims, arguments)


class _Pull(Function):
    @staticmethod
    def forward(
        step: _Step, wanted: tuple[bool, ...], g: Tensor, z: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        def of_z(z: Tensor) -> Tensor:
            return step(z, *tensors)

        def of_wanted(*chosen: Tensor) -> Tensor:
            rest = iter(chosen)
            pairs = zip(tensors, wanted, strict=True)
            return step(z, *(next(rest) if needed else tensor for tensor, needed in pairs))

        pull_z = vjp(of_z, z)[1]
        w = g
        for _ in range(step.features):
            before, w = w, g + pull_z(w)[0]
            # Relative to the cotangent itself, which may be of any size.
            if step.settled(before, w, w.abs().amax(-1, keepdim=True)):
                break
        chosen = [tensor for tensor, needed in zip(tensors, wanted, strict=True) if needed]
        return vjp(of_wanted, *chosen)[1](w)

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
