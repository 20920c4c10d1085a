r"""The inverse of an autoregressive transform as a fixed point, and its implicit gradient.

Iterating $z \leftarrow v(x; p)$, $p = P(r(z), c)$, where v is the inverse of the univariate map and
r clips what the conditioner reads, makes group d of the features exact after d rounds from any
starting point, and usually all features far sooner (Song et al. 2021, arXiv 2002.03629). The
results are z and the parameters p of the last round. Write $\theta$ for the data, the context and
the weights. With $A = \partial v(x; P(r(z), c)) / \partial z$ at the solution, strictly triangular,
and $B = \partial p / \partial z$, the implicit function theorem gives for cotangents g of z and h
of p

$$w = g + B^T h + A^T w, \qquad
\bar\theta = (\partial v / \partial \theta)^T w + (\partial p / \partial \theta)^T h,$$

where the derivatives with respect to $\theta$ hold z fixed; w is computed by the same iteration.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.func import functional_call, vjp

from invflow._operator import reverse_only
from invflow.conditioners.soft_clip import soft_clip
from invflow.inverses.pair import Pair

#: Larger guesses are no better; they only overflow.
_LARGE = 1e4
#: z and the parameters there.
Solution = tuple[Tensor, Tensor]


def solve(pair: Pair, x: Tensor, context: Tensor | None, tolerance: float | None) -> Solution:
    """Return the z that an autoregressive transform maps to `x`, with its first derivatives.

    Args:
        pair: the conditioner and the map.
        x: data, (*batch, features).
        context: as for the conditioner.
        tolerance: stop when no feature changes by more than this times max(1, |feature|), or, in
            the backward pass, by more than this times the largest cotangent of the same vector;
            None for eight units of rounding.

    Returns:
        z, shaped like `x`, and the parameters there, (*batch, features, outputs).
    """
    conditioner = pair.conditioner
    state = {**dict(conditioner.named_parameters()), **dict(conditioner.named_buffers())}
    step = _Step(pair, list(state), tolerance, x)
    contexts = () if context is None else (context,)
    return reverse_only(_Solve, step, x, *contexts, *state.values())


class _Step:
    """One round, z -> v(x; p) and p = P(r(z), context), as a pure function of tensors.

    Args:
        pair: the conditioner and the map.
        names: of the conditioner's tensors.
        tolerance: see `solve`.
        x: data.
    """

    def __init__(self, pair: Pair, names: list[str], tolerance: float | None, x: Tensor) -> None:
        # The backward pass may run after autocast has ended; it uses the precision of this pass.
        device = x.device.type
        self.autocast = partial(
            torch.autocast,
            device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
        )
        self.pair = pair
        self.names = names
        self.groups = pair.conditioner.groups
        self.rounding = 8 * torch.finfo(x.dtype).eps
        self.limit = self.rounding if tolerance is None else tolerance

    def __call__(self, z: Tensor, x: Tensor, *tensors: Tensor) -> Solution:
        with self.autocast():
            params = self.params(z, *tensors)
            return self.pair.univariate.inverse(x, params)[0], params

    def params(self, z: Tensor, *tensors: Tensor) -> Tensor:
        """Return the parameters at z."""
        cut = len(tensors) - len(self.names)
        context, state = tensors[:cut], tensors[cut:]
        values = dict(zip(self.names, state, strict=True))
        call = partial(functional_call, self.pair.conditioner, values)
        with self.autocast():
            return call((soft_clip(z, self.pair.input_bound), *context))

    def settled(self, before: Tensor, after: Tensor, scale: Tensor) -> bool:
        """Whether nothing has changed by more than the limit times `scale`."""
        beyond = (after - before).abs() - self.limit * scale
        return bool((beyond <= 0).all())  # anything that is not finite has not converged


def _one_by_one(function: type[Function], info: Any, in_dims: Any, arguments: Any) -> Any:
    """Run one element at a time under vmap: each stops when it has converged."""
    runs = [
        cast(Any, function).apply(
            *(
                argument.select(dim, i) if isinstance(dim, int) else argument
                for argument, dim in zip(arguments, in_dims, strict=True)
            )
        )
        for i in range(info.batch_size)
    ]
    return tuple(torch.stack(results) for results in zip(*runs, strict=True)), 0


class _Solve(Function):
    @staticmethod
    def forward(step: _Step, x: Tensor, *tensors: Tensor) -> Solution:
        guess, z, params = torch.zeros_like(x), x, x
        for exact in accumulate(step.groups):
            z, params = step(guess, x, *tensors)
            # A feature that is not exact yet may have any value, but it must be a moderate one: a
            # zero weight keeps it out of earlier features only if it is finite.
            if step.settled(guess, z, z.abs().clamp(min=1)):
                # These are the parameters at the guess, which is z up to rounding, unless a larger
                # tolerance was given. (After the last round they are those at z: they read only the
                # groups before the last, which were exact.)
                if step.limit > step.rounding and exact < x.shape[-1]:
                    params = step.params(z, *tensors)
                return z, params
            guess = z.nan_to_num(0.0, 0.0, 0.0)
            rest = guess[..., exact:].clamp(-_LARGE, _LARGE)
            guess = torch.cat([guess[..., :exact], rest], -1)
        return z, params

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Solution) -> None:
        ctx.step, *tensors = inputs
        ctx.save_for_backward(output[0], *tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        wanted = ctx.needs_input_grad[1:]
        pulled = reverse_only(_Pull, ctx.step, wanted, *cotangents, *ctx.saved_tensors)
        gradients = iter(pulled)
        return None, *(next(gradients) if needed else None for needed in wanted)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        return _one_by_one(_Solve, info, in_dims, arguments)


class _Pull(Function):
    @staticmethod
    def forward(
        step: _Step, wanted: tuple[bool, ...], g: Tensor, h: Tensor, z: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        def of_z(z: Tensor) -> Solution:
            return step(z, *tensors)

        def of_wanted(*chosen: Tensor) -> Solution:
            rest = iter(chosen)
            pairs = zip(tensors, wanted, strict=True)
            return step(z, *(next(rest) if needed else tensor for tensor, needed in pairs))

        pull_z = vjp(of_z, z)[1]
        w = g
        for _ in step.groups:
            before, w = w, g + pull_z((w, h))[0]
            # Relative to the cotangent itself, which may have any size.
            if step.settled(before, w, w.abs().amax(-1, keepdim=True)):
                break
        chosen = [tensor for tensor, needed in zip(tensors, wanted, strict=True) if needed]
        return vjp(of_wanted, *chosen)[1]((w, h))

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
