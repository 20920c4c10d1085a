"""The autoregressive transform: order, conditioner and univariate map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from invflow import _checks, kernels
from invflow._overrides import overridden
from invflow._part import Part
from invflow._torch import hooked
from invflow.conditioners import Conditioner
from invflow.inverses import cached, choice
from invflow.inverses.pair import Pair
from invflow.transforms.base import Transform
from invflow.univariate import Univariate
from invflow.univariate import univariate as as_univariate

_JOINED = frozenset(("conditioner", "univariate", "inverse_method", "tolerance"))
#: What a subclass may define and still be mapped by kernels, together with its neighbours.
_SILENT = ("flaw", "settled", "domain", "codomain", "pure", "call_and_ladj", "inv", "as_torch")
#: What it may define and still be mapped by kernels, but by itself.
_CALLED = frozenset(("__call__", "forward", "inverse", "_forward", "_inverse", "_check"))


class Autoregressive(Transform):
    r"""A univariate map per feature, whose parameters come from the features before it.

    $$x_i = u(z_i;\, P_i(r(z_{<i}), c)), \qquad
    \log|\det dx/dz| = \sum_i \log|\partial u / \partial z_i|$$

    where "before" is meant in the given order. The conditioner P reads z: mapping z to x is one
    pass of it (IAF). With `input_bound` it reads r(z), which is z up to half of the bound, and
    never beyond it (see `soft_clip`), so that what is far out cannot drive later features further
    out. The inverse takes one feature after another, in one of these ways:

    - "cached": every hidden activation is computed once, when it becomes computable, which makes
      the whole inverse about one pass; its gradient is the same sweep in reverse.
    - "compiled": the same in one kernel, for a `MADE` without `norm` and an affine, gated or
      additive map: on a CPU in single or double precision, on CUDA, where it needs Triton, in half
      precision too.
    - "fixed_point": parallel passes until nothing moves, D at most, usually far fewer; its
      gradient comes from the implicit function theorem.
    - "passes": D whole passes and plain autograd. The reference, and slow.
    - "auto": on a CPU "compiled" where it can be, else "cached" where the conditioner can; on an
      accelerator "cached" for up to 16 features; otherwise "fixed_point".

    A conditioner with hooks, as one that is pruned has them, has to be called: all but "passes" are
    "fixed_point" then. So has a subclass of one of the library's that computes anything in its own
    way: "auto" is "fixed_point" for it, with a warning, unless the class has a name of its own in
    `CONDITIONERS`, which says that the sweep holds for it. One that does not is as fast as its
    parent.

    With "auto" and "compiled" the parallel direction runs in a kernel too, on a CPU and outside of
    `torch.compile`, `torch.func` and autocast.

    Args:
        conditioner: the causal network.
        univariate: the map of each feature, by name or as an object.
        order: the features in the order in which they are taken, a permutation of 0 .. D - 1;
            None for the order in which they come.
        inverse: "auto", "compiled", "cached", "fixed_point" or "passes".
        tolerance: of "fixed_point": the change, relative to max(1, |z|), that counts as none, and
            for its gradient the change relative to the largest entry; None for rounding.
        input_bound: the bound of what the conditioner reads of a feature; None for none.

    Raises:
        TypeError: if `conditioner`, `order` or `input_bound` has the wrong type.
        ValueError: if a name is unknown, `order` is not a permutation, the conditioner does not
            give as many parameters as the map takes, the conditioner does not have the inverse, the
            tolerance is below zero, or `input_bound` is not positive and finite.

    References:
        Kingma et al. 2016, arXiv 1606.04934; Song et al. 2021, arXiv 2002.03629.

    Example:
        >>> import torch
        >>> from invflow.conditioners import MADE
        >>> made = MADE(features=3, start=(0.0, 0.0))
        >>> transform = Autoregressive(made, "affine", order=[2, 0, 1])
        >>> z = torch.randn(5, 3)
        >>> x, ladj = transform(z)
        >>> x.shape, ladj.shape
        (torch.Size([5, 3]), torch.Size([5]))
        >>> torch.allclose(transform.inverse(x)[0], z, atol=1e-5)
        True
    """

    settled = Transform.settled | {"input_bound"}

    def __init__(
        self,
        conditioner: Conditioner,
        univariate: str | Mapping[str, Any] | Univariate = "affine",
        *,
        order: Sequence[int] | Tensor | None = None,
        inverse: str = "auto",
        tolerance: float | None = None,
        input_bound: float | None = None,
    ) -> None:
        if not isinstance(conditioner, Conditioner):
            raise TypeError(f"conditioner must be a Conditioner, got {type(conditioner).__name__}")
        super().__init__(conditioner.features, conditioner.context)
        self.input_bound = _bound(input_bound)
        self.conditioner, self.univariate = conditioner, as_univariate(univariate)
        self.inverse_method = inverse
        self.tolerance = None if tolerance is None else _checks.number("tolerance", tolerance)
        self._join()
        positions = None if order is None else _checks.permutation("order", order, self.features)
        device = next((each.device for each in conditioner.parameters()), None)
        self.register_buffer("order", None if positions is None else positions.to(device))

    def flaw(self, name: str, tensor: Tensor) -> str | None:
        return _checks.no_permutation(tensor, self.features)

    order: Tensor | None
    conditioner: Conditioner
    univariate: Univariate
    #: How the inverse is taken; see `inverse` above.
    inverse_method: str
    #: How it is taken in one sweep, None if it cannot be.
    method: cached.Method | None
    #: What the kernels take the transform for; None if there are none for it.
    kernel: kernels.Kind | None
    #: The bound of what the conditioner reads of a feature; infinite for none, as in a module that
    #: was pickled before there were bounds.
    input_bound: float = math.inf

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute: another conditioner, map, inverse or tolerance, if all go together.

        Raises:
            TypeError: if the value has the wrong type.
            ValueError: if a part has other sizes, the transform does not have the inverse, or the
                tolerance is below zero.
        """
        joined = name in _JOINED and "method" in vars(self)
        before = getattr(self, name) if joined else None
        super().__setattr__(name, value)
        if joined:
            try:
                self._join()
            except Exception:
                super().__setattr__(name, before)
                raise

    def _join(self) -> None:
        """See whether what has to fit does, and keep what follows from it."""
        pair = conditioner, univariate, _ = self._pair()
        if conditioner.outputs != univariate.parameters:
            raise ValueError(
                f"conditioner must give {univariate.parameters} parameters per feature for "
                f"{univariate!r}, got {conditioner.outputs}"
            )
        choice.check(self.inverse_method, self.tolerance, pair)
        own = overridden(self, Autoregressive, Part, _SILENT)
        inner = sorted({*own} - _CALLED)
        if inner and self.inverse_method == "compiled":
            raise ValueError(
                f'inverse="compiled" needs the {inner[0]} of Autoregressive, '
                f"got {type(self).__name__}, which overrides it"
            )
        self.method = cached.method(pair)
        self.kernel = None if inner else kernels.kind(*pair)
        self._alone = bool(own)

    def _pair(self) -> Pair:
        return Pair(self.conditioner, self.univariate, self.input_bound)

    @property
    def joins(self) -> kernels.Kind | None:
        """What neighbours must have in common with this to be mapped in one call; None for none.

        A transform that computes something of its own, or has hooks, has to be called.
        """
        return self.kernel if self._served and not (self._alone or hooked(self)) else None

    @property
    def _served(self) -> bool:
        return self.kernel is not None and self.inverse_method in ("auto", "compiled")

    def _ordered(self, values: Tensor) -> Tensor:
        order = self.order
        return values if order is None else values.index_select(-1, order)

    def _restored(self, values: Tensor) -> Tensor:
        order = self.order
        return values if order is None else values.index_select(-1, order.argsort())

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if self._served:
            mapped = kernels.map((self,), z, context, inverse=False)
            if mapped is not None:
                return mapped
        z = self._ordered(z)
        x, ladj = self.univariate.forward(z, self._pair().params(z, context))
        return self._restored(x), ladj.sum(-1)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if self._served:
            mapped = kernels.map((self,), x, context, inverse=True)
            if mapped is not None:
                return mapped
        z, params = choice.solve(
            self.inverse_method,
            self._pair(),
            self.method,
            self._ordered(x),
            context,
            self.tolerance,
        )
        _, ladj = self.univariate.forward(z, params)
        return self._restored(z).to(x.dtype), -ladj.sum(-1).to(x.dtype)


def _bound(value: float | None) -> float:
    if value is None:
        return math.inf
    if not 0 < _checks.number("input_bound", value) < math.inf:
        raise ValueError(f"input_bound must be positive and finite, or None, got {value!r}")
    return float(value)
