"""The autoregressive transform: order, conditioner and univariate map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from invflow import _checks, kernels
from invflow.conditioners import MADE, CachedConditioner, Conditioner
from invflow.conditioners.soft_clip import soft_clip
from invflow.inverses import cached, fixed_point, passes
from invflow.kernels.dense import check_memory, dense
from invflow.transforms.base import Transform
from invflow.univariate import Univariate
from invflow.univariate import univariate as as_univariate

_JOINED = frozenset(("conditioner", "univariate", "inverse_method"))
INVERSES = ("auto", "compiled", "cached", "fixed_point", "passes")


class Autoregressive(Transform):
    r"""A univariate map per feature, whose parameters come from the features before it.

    $$x_i = u(z_i;\, P_i(r(z_{<i}), c)), \qquad
    \log|\det dx/dz| = \sum_i \log|\partial u / \partial z_i|$$

    where "before" is meant in the given order. The conditioner P reads z: mapping z to x is one
    pass of it (IAF). With `input_bound` it reads r(z), which is z up to half of the bound, and
    never beyond it (see `soft_clip`), so that what is far out cannot drive later features further
    out. The inverse takes one feature after another; how is a choice:

    - "cached": every hidden activation is computed once, when it becomes computable, which makes
      the whole inverse about one pass; its gradient is the same sweep in reverse.
    - "compiled": the same in one kernel, for a `MADE` without `norm` and an affine, gated or
      additive map: on a CPU in single or double precision, which needs Numba, on CUDA in half
      precision too, which needs Triton.
    - "fixed_point": parallel passes until nothing moves, D at most, usually far fewer; its
      gradient comes from the implicit function theorem.
    - "passes": D whole passes and plain autograd. The reference, and slow.
    - "auto": on a CPU "compiled" where it can be, else "cached" where the conditioner can; on an
      accelerator "cached" for up to 16 features; otherwise "fixed_point".

    A conditioner with hooks, as one that is pruned has them, has to be called: all but "passes" are
    "fixed_point" then.

    With "auto" and "compiled" the map itself runs in a kernel too, on a CPU and outside of
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
        TypeError: `conditioner`, `order` or `input_bound` of the wrong type.
        ValueError: an unknown name, an order that is not a permutation, a conditioner that gives
            another number of parameters than the map takes, "cached" with a conditioner that
            cannot, a tolerance below zero, an `input_bound` that is not positive and finite.

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
        self._input_bound = _bound(input_bound)
        self.conditioner, self.univariate = conditioner, as_univariate(univariate)
        self.inverse_method = inverse
        self._join()
        if tolerance is not None and not _checks.number("tolerance", tolerance) >= 0:
            raise ValueError(f"tolerance must be at least 0, got {tolerance!r}")
        self.tolerance = tolerance
        positions = None if order is None else _checks.permutation("order", order, self.features)
        home = next((each.device for each in conditioner.parameters()), None)
        self.register_buffer("order", None if positions is None else positions.to(home))

    def flaw(self, name: str, tensor: Tensor) -> str | None:
        return _checks.no_permutation(tensor, self.features)

    order: Tensor | None
    conditioner: Conditioner
    univariate: Univariate
    #: How the inverse is taken; see `inverse` above.
    inverse_method: str
    #: Of a module that was pickled before there were bounds, too.
    _input_bound: float = math.inf

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute: another conditioner, map or inverse, if it goes with the others.

        Raises:
            TypeError: something that is not a conditioner, or not a map.
            ValueError: one of other sizes, or an inverse that it does not have.
        """
        before = getattr(self, name) if name in _JOINED and "method" in vars(self) else None
        super().__setattr__(name, value)
        if before is not None:
            try:
                self._join()
            except (ImportError, ValueError):
                super().__setattr__(name, before)
                raise

    def _join(self) -> None:
        """See whether what has to fit does, and keep what follows from it."""
        conditioner, univariate = self.conditioner, self.univariate
        inverse = _checks.choice("inverse", self.inverse_method, INVERSES)
        if conditioner.outputs != univariate.parameters:
            raise ValueError(
                f"conditioner must give {univariate.parameters} parameters per feature for "
                f"{univariate!r}, got {conditioner.outputs}"
            )
        method = cached.method(conditioner, univariate, self.input_bound)
        if inverse == "cached" and method is None:
            raise ValueError(
                f'inverse="cached" needs a conditioner with a decoder, '
                f"got {type(conditioner).__name__}"
            )
        served = kernels.serves(conditioner, univariate)
        if inverse == "compiled" and not served:
            raise ValueError(
                'inverse="compiled" needs a MADE without norm and an affine, gated or additive '
                f"map, got {type(conditioner).__name__} and {univariate!r}"
            )
        if inverse == "compiled" and not any(map(kernels.usable, kernels.DTYPES)):
            raise _unusable("cpu")
        self.method, self._compiled = method, served

    @property
    def input_bound(self) -> float:
        """The bound of what the conditioner reads of a feature; infinite for none. It is fixed."""
        return self._input_bound

    def _ordered(self, values: Tensor) -> Tensor:
        order = self.order
        return values if order is None else values.index_select(-1, order)

    def _restored(self, values: Tensor) -> Tensor:
        order = self.order
        return values if order is None else values.index_select(-1, order.argsort())

    def _forward(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        link = self._kernel_link(z, context)
        if link is not None:
            return chain(self, [link], z, inverse=False)
        z = self._ordered(z)
        x, ladj = self.univariate.forward(z, self._params(z, context))
        return self._restored(x), ladj.sum(-1)

    def _inverse(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        link = self._kernel_link(x, context)
        if link is not None:
            return chain(self, [link], x, inverse=True)
        method = self._method(x)
        if method == "compiled":
            link = self.link(x.shape[:-1], context)
            rows = x.reshape(math.prod(x.shape[:-1]), self.features).to(link.weight.dtype)
            z, ladj = kernels.solve(cast(cached.Method, self.method), link, rows)
            return z.reshape(x.shape).to(x.dtype), ladj.reshape(x.shape[:-1]).to(x.dtype)
        x = self._ordered(x)
        match method:
            case "cached":
                z, ladj = self._sweep(x, context)
                return self._restored(z), ladj
            case "fixed_point":
                z = fixed_point.solve(*self._parts(), x, context, self.tolerance)
            case _:
                z = passes.solve(*self._parts(), x, context)
        _, ladj = self.univariate.forward(z, self._params(z, context))
        return self._restored(z), -ladj.sum(-1)

    def _params(self, z: Tensor, context: Tensor | None) -> Tensor:
        return self.conditioner(soft_clip(z, self.input_bound), context)

    def _parts(self) -> tuple[Conditioner, Univariate, float]:
        return self.conditioner, self.univariate, self.input_bound

    def link(self, batch: torch.Size, context: Tensor | None) -> kernels.Link:
        """Return the tensors that kernels need for a batch of this shape."""
        made = cast(MADE, self._modules["conditioner"])
        bias, weight = made.vectors()
        offset = made.shift(context)
        if offset is not None:
            offset = offset.to(weight.dtype).expand(*batch, -1)
            offset = offset.reshape(math.prod(batch), offset.shape[-1])
        return kernels.Link(self._buffers["order"], bias, weight, offset)

    def _sweep(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        batch = x.shape[:-1]
        offset, weights = cast(CachedConditioner, self.conditioner).pack(batch, context)
        columns = x.reshape(math.prod(batch), self.features).t().to(offset.dtype)
        z, params = cached.solve(cast(cached.Method, self.method), columns, offset, weights)
        _, ladj = self.univariate.forward(z, params.transpose(1, 2))
        return z.t().reshape(x.shape).to(x.dtype), -ladj.sum(0).reshape(batch).to(x.dtype)

    def _kernel_link(self, value: Tensor, context: Tensor | None) -> kernels.Link | None:
        taken = self.served and readable(value, context)
        return self.kernel_link(value.shape[:-1], context) if taken else None

    @property
    def served(self) -> bool:
        """Whether there are kernels for this transform, and it may take them."""
        return self._compiled and self.inverse_method in ("auto", "compiled")

    def kernel_link(self, batch: torch.Size, context: Tensor | None) -> kernels.Link | None:
        """Return the tensors for the kernels of the CPU, None where these do not take them.

        Kernels read plain memory and call no module: not other kinds of tensors, nor where hooks
        would not be called, nor subclasses. See `readable` for when to ask.
        """
        if not self.served or type(self) is not Autoregressive:
            return None
        made = cast(MADE, self._modules["conditioner"])
        if _hooked(self) or _hooked(made):
            return None
        if context is not None and (weight := made.context_weight) is not None:
            if not dense(weight):
                return None
            check_memory("context_weight", weight)  # which PyTorch reads for the link
        link = self.link(batch, context)
        order, bias, weight, offset = link
        varying = offset is None or dense(offset)
        ordered = order is None or not order.is_cpu or dense(order)  # elsewhere it is refused
        return link if varying and ordered and dense(bias) and dense(weight) else None

    def _method(self, x: Tensor) -> str:
        """Return the inverse to take for data like these: the one asked for, or the choice."""
        if self.inverse_method != "passes" and _hooked(self.conditioner):
            return "fixed_point"  # which calls it: hooks may change what it gives
        if self.inverse_method not in ("auto", "compiled"):
            return self.inverse_method
        device, dtype = x.device.type, next(self.conditioner.parameters(), x).dtype
        served = self._compiled and dtype in kernels.DTYPES.get(device, ())
        if self.inverse_method == "auto":
            return self._choice(device, served)
        if not served:
            raise ValueError(
                'inverse="compiled" needs a CPU and single or double precision, or CUDA, '
                f"got {dtype} on {x.device}"
            )
        if not kernels.usable(device):
            raise _unusable(device)
        return "compiled"

    def _choice(self, device: str, served: bool) -> str:
        """Return what "auto" takes: by measurement on a CPU.

        On an accelerator a long sweep in PyTorch is bound by the launch of its steps. Where
        the kernels win there, `benchmarks/gpu.py` tells; they are not chosen before it has.
        """
        if device == "cpu" and served and kernels.usable(device):
            return "compiled"
        sweeps_well = device == "cpu" or self.features <= 16
        return "cached" if self.method is not None and sweeps_well else "fixed_point"


def readable(value: Tensor, context: Tensor | None) -> bool:
    """Return whether the kernels of the CPU can be called now, and read these.

    Raises:
        ValueError: the context's storage has been freed or cut.
    """
    fits = value.is_cpu and value.dtype in kernels.DTYPES["cpu"] and dense(value)
    taken = fits and (context is None or dense(context)) and kernels.runs()
    if taken and context is not None:
        check_memory("context", context)  # which PyTorch reads
    return taken


def _bound(value: float | None) -> float:
    if value is None:
        return math.inf
    if not 0 < _checks.number("input_bound", value) < math.inf:
        raise ValueError(f"input_bound must be positive and finite, or None, got {value!r}")
    return float(value)


def _hooked(module: nn.Module) -> bool:
    """Return whether a call of the module would run more than its class says."""
    own = module.__dict__
    before = own["_forward_pre_hooks"] or own["_backward_pre_hooks"]
    return bool("forward" in own or before or own["_forward_hooks"] or own["_backward_hooks"])


def _unusable(device: str) -> ImportError:
    needs = {
        "cpu": 'Numba: pip install "invflow[fast]"',
        "cuda": "Triton 3.5, which PyTorch 2.9 for CUDA brings: pip install triton",
    }
    return ImportError(f'inverse="compiled" needs {needs[device]} ({kernels.reason(device)})')


def chain(
    like: Autoregressive, links: list[kernels.Link], value: Tensor, *, inverse: bool
) -> tuple[Tensor, Tensor]:
    """Map a batch through transforms that join each other, in one call of kernels.

    Args:
        like: one of the transforms, which differ in their tensors alone.
        links: these tensors, in the order in which the transforms are taken.
        value: z or x, shape (*batch, features).
        inverse: the direction.

    Returns:
        x or z, shaped like `value`, and log-determinants, of shape `batch`.
    """
    method, batch = cast(cached.Method, like.method), value.shape[:-1]
    if len(batch) == 1:
        return kernels.run(method, links, value, inverse=inverse)
    rows = value.reshape(math.prod(batch), like.features)
    result, ladj = kernels.run(method, links, rows, inverse=inverse)
    return result.reshape(value.shape), ladj.reshape(batch)
