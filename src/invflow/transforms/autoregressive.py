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
#: A subclass may define these and still run in kernels together with its neighbours.
_SILENT = ("flaw", "settled", "domain", "codomain", "pure", "call_and_ladj", "inv", "as_torch")
#: A subclass may define these and still run in kernels, but alone.
_CALLED = frozenset(("__call__", "forward", "inverse", "_forward", "_inverse", "_check"))


class Autoregressive(Transform):
    r"""A univariate map per feature, whose parameters are computed from earlier features.

    $$x_i = u(z_i;\, P_i(r(z_{<i}), c)), \qquad
    \log|\det dx/dz| = \sum_i \log|\partial u / \partial z_i|$$

    where "earlier" refers to the given order. If the conditioner takes features in groups (its
    `group`), the earlier ones are those of the groups before; everything below is then said of
    groups instead of features. With two groups this is a coupling that also transforms the first
    group, by parameters that depend on the context alone. The conditioner P reads z: mapping z to x
    takes one pass (IAF). With `input_bound` it reads r(z), which equals z up to half the bound and
    never exceeds the bound (see `soft_clip`), so that extreme values cannot push later features to
    extremes. The inverse takes one feature after another, in one of these ways:

    - "cached": every hidden activation is computed once, as soon as it can be, so the whole inverse
      costs about one pass; its gradient is the same sweep in reverse.
    - "compiled": the same in one kernel, for a `MADE` without `norm` and an affine, gated or
      additive map or a spline; on a CPU in single or double precision, on CUDA (with Triton, and
      without splines) also in half precision.
    - "fixed_point": parallel passes until nothing changes, at most D, usually far fewer; its
      gradient comes from the implicit function theorem.
    - "passes": D whole passes and plain autograd. This is the reference, and slow.
    - "auto": on a CPU "compiled" if possible, else "cached" if the conditioner supports it; on an
      accelerator "cached" for up to 16 features; otherwise "fixed_point".

    A conditioner with hooks, for example a pruned one, must be called, so every choice but "passes"
    becomes "fixed_point". The same holds for a subclass of one of the library's conditioners that
    overrides a computation: "auto" becomes "fixed_point", with a warning, unless the class has its
    own name in `CONDITIONERS`, which declares that the sweep is right for it. A subclass that
    overrides no computation is as fast as its parent.

    With "auto" and "compiled" the parallel direction also runs in a kernel, on a CPU and outside of
    `torch.compile`, `torch.func` and autocast.

    Args:
        conditioner: the causal network.
        univariate: the map of each feature, by name or as an object.
        order: the order in which the features are processed, a permutation of 0 .. D - 1; None to
            keep their order.
        inverse: "auto", "compiled", "cached", "fixed_point" or "passes".
        tolerance: for "fixed_point": stop at this change relative to max(1, |z|) and, in its
            gradient, relative to the largest entry; None for rounding.
        input_bound: bound on what the conditioner reads of a feature; None for no bound.

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
    #: How to invert; see `inverse` above.
    inverse_method: str
    #: How to invert in one sweep; None if that is impossible.
    method: cached.Method | None
    #: The kind of transform that the kernels see; None if there are no kernels for it.
    kernel: kernels.Kind | None
    #: Bound on what the conditioner reads of a feature; infinite for no bound, as in a module that
    #: was pickled before bounds existed.
    input_bound: float = math.inf

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute: another conditioner, map, inverse or tolerance, if all fit together.

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
        """Check that the parts fit together, and store what follows from them."""
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
        """What neighbours must share with this to be mapped in one call; None if none can.

        A transform that overrides a computation, or has hooks, must be called by itself.
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

    def _push(
        self, z: Tensor, score: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        pushed = kernels.push((self,), z, score, context) if self._served else None
        return pushed or super()._push(z, score, context)

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
