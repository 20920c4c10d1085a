"""One transform after another, and the inverse of a transform."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions.constraints import Constraint
from torch.utils.checkpoint import checkpoint

from invflow import _checks, kernels
from invflow._snapshot import Snapshot
from invflow.transforms.autoregressive import Autoregressive
from invflow.transforms.base import Transform


class Compose(Transform):
    r"""Several transforms in sequence: $x = (f_K \circ \dots \circ f_1)(z)$.

    The log-determinants add up. All transforms that declare a context receive the same one. The
    domain is that of the first transform, the codomain that of the last.

    Args:
        transforms: one or more transforms with the same number of features.
        checkpoint: store only the inputs and outputs of each transform, and recompute the rest in
            the backward pass: the memory of one transform, at the cost of one more pass. Not for
            use under `torch.func`.

    Raises:
        TypeError: if one of them is not a transform, or `checkpoint` is not True or False.
        ValueError: if the sequence is empty, or the sizes differ.

    Example:
        >>> import torch
        >>> from invflow.transforms import Permutation
        >>> swap = Permutation([1, 0])
        >>> Compose([swap, swap])(torch.tensor([1.0, 2.0]))
        (tensor([1., 2.]), tensor(0.))
    """

    def __init__(self, transforms: Sequence[Transform], *, checkpoint: bool = False) -> None:
        if not isinstance(transforms, Iterable):
            raise TypeError(f"transforms must be a sequence, got {type(transforms).__name__}")
        parts = list(transforms)
        if not parts:
            raise ValueError("transforms must contain at least one transform, got none")
        for i, part in enumerate(parts):
            if not isinstance(part, Transform):
                raise TypeError(f"transforms[{i}] must be a Transform, got {type(part).__name__}")
            if part.features != parts[0].features:
                raise ValueError(
                    f"transforms must all have {parts[0].features} features, "
                    f"got {part.features} in transforms[{i}]"
                )
        contexts = {part.context for part in parts if part.context}
        if len(contexts) > 1:
            raise ValueError(f"transforms must share one context size, got {sorted(contexts)}")
        super().__init__(parts[0].features, max(contexts, default=0))
        self.transforms = nn.ModuleList(parts)
        self.checkpoint = _checks.boolean("checkpoint", checkpoint)

    @property
    def domain(self) -> Constraint:
        return cast(Transform, self.transforms[0]).domain

    @property
    def codomain(self) -> Constraint:
        return cast(Transform, self.transforms[-1]).codomain

    def _run(self, value: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        parts = list(cast(Sequence[Transform], self.transforms))
        parts = parts[::-1] if inverse else parts
        recompute = self.checkpoint and torch.is_grad_enabled()
        total: Tensor | None = None
        for group in [[part] for part in parts] if recompute else _groups(parts):
            mapped = _together(group, value, context, inverse) if len(group) > 1 else None
            value, ladj = mapped or _in_turn(group, value, context, inverse, recompute)
            total = ladj if total is None else total + ladj
        return value, cast(Tensor, total)

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._run(z, context, inverse=False)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._run(x, context, inverse=True)

    def _push(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.checkpoint:
            return super()._push(z, score, context)
        total: Tensor | None = None
        for group in _groups(list(cast(Sequence[Transform], self.transforms))):
            pushed = _push_together(group, z, score, context) if len(group) > 1 else None
            z, ladj, score = pushed or _push_in_turn(group, z, score, context)
            total = ladj if total is None else total + ladj
        return z, cast(Tensor, total), score


def _groups(parts: Sequence[Transform]) -> list[list[Transform]]:
    """Split a sequence of transforms into groups of neighbours for one call of the kernels."""
    groups: list[list[Transform]] = []
    before: kernels.Kind | None = None
    for part in parts:
        kind = part.joins if isinstance(part, Autoregressive) else None
        if kind is not None and kind == before:
            groups[-1].append(part)
        else:
            groups.append([part])
        before = kind
    return groups


def _together(
    group: Sequence[Transform], value: Tensor, context: Tensor | None, inverse: bool
) -> tuple[Tensor, Tensor] | None:
    """Map a batch through similar neighbours in one call; None if that is impossible."""
    parts = cast(Sequence[Autoregressive], group)
    return kernels.map(parts, value, context if parts[0].context else None, inverse=inverse)


def _push_together(
    group: Sequence[Transform], z: Tensor, score: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Map noise and its score through similar neighbours in one call; None if impossible."""
    parts = cast(Sequence[Autoregressive], group)
    return kernels.push(parts, z, score, context if parts[0].context else None)


def _push_in_turn(
    parts: Sequence[Transform], z: Tensor, score: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Map noise and its score by one transform after another."""
    total: Tensor | None = None
    for part in parts:
        z, ladj, score = part.push(z, score, context if part.context else None)
        total = ladj if total is None else total + ladj
    return z, cast(Tensor, total), score


def _in_turn(
    parts: Sequence[Transform],
    value: Tensor,
    context: Tensor | None,
    inverse: bool,
    recompute: bool,
) -> tuple[Tensor, Tensor]:
    """Map a batch by calling one transform after another."""
    total: Tensor | None = None
    for part in parts:
        arguments = value, context if part.context else None
        step = part.inverse if inverse else part
        if recompute and _pure(part):
            again = _repeatable(part, step)
            value, ladj = checkpoint(again, *arguments, use_reentrant=False)
        else:
            value, ladj = step(*arguments)
        total = ladj if total is None else total + ladj
    return value, cast(Tensor, total)


def _repeatable(part: Transform, step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step that, repeated in the backward pass, gives the same result or fails.

    It may be repeated after a `functional_call` has ended, or after an optimizer's step.
    """
    if torch.compiler.is_compiling():
        return step
    snapshot, versions = Snapshot(part), list[int]()

    def run(*arguments: Any) -> Any:
        if versions and versions != snapshot.versions():
            raise RuntimeError(
                f"parameters or buffers of {type(part).__name__} were changed in place between "
                "the forward and the backward pass, in which checkpoint=True calls it again"
            )
        result = snapshot.run(step, *arguments)
        versions[:] = snapshot.versions()
        return result

    return run


def _pure(part: Transform) -> bool:
    return all(module.pure for module in part.modules() if isinstance(module, Transform))


class Inverse(Transform):
    r"""The inverse of a transform: $x = f^{-1}(z)$, with the costs of the directions swapped.

    Args:
        transform: f.

    Raises:
        TypeError: if `transform` is not a transform.

    Example:
        >>> import torch
        >>> from invflow.transforms import Permutation
        >>> Inverse(Permutation([1, 2, 0]))(torch.tensor([1.0, 2.0, 3.0]))[0]
        tensor([3., 1., 2.])
    """

    def __init__(self, transform: Transform) -> None:
        if not isinstance(transform, Transform):
            raise TypeError(f"transform must be a Transform, got {type(transform).__name__}")
        super().__init__(transform.features, transform.context)
        self.transform = transform

    @property
    def domain(self) -> Constraint:
        return self.transform.codomain

    @property
    def codomain(self) -> Constraint:
        return self.transform.domain

    @property
    def inv(self) -> Transform:
        return self.transform

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(z, context)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.transform(x, context)
