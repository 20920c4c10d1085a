"""MADE: a multilayer perceptron with masked weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks
from invflow.conditioners import network, sweep
from invflow.conditioners.activation import ACTIVATIONS
from invflow.conditioners.base import CachedConditioner
from invflow.conditioners.layout import Layout


class MADE(CachedConditioner):
    r"""A masked perceptron: one pass computes the parameters of all features.

    $$a_1 = (M_1 \circ W_1) z + C c + b_1, \qquad a_l = (M_l \circ W_l)\, \phi(a_{l-1}) + b_l
    \;[+\, a_{l-1}]$$

    with activation $\phi$, masks $M_l$ that let a unit see only units of its own degree or lower
    (see `Layout`), and the term in brackets only with `residual`. With `norm`, $\phi$ is applied to
    $g\, a\, r$ instead of a, where g is a learned gain and r the inverse root mean square over the
    units of the same degree or lower, which preserves causality.

    All matrices are stored in one flat parameter, `weight`, and all biases in another, `bias`,
    because autograd and optimizers spend time on every tensor, however small. `weights` and
    `biases` are views of them that you can inspect or change in place. (An optimizer that treats
    matrices specially will treat `weight` as a vector.)

    Args:
        features: number of features, D.
        start: the value each parameter of a feature starts from; its length is P.
        hidden_features: widths of the hidden layers; may be empty.
        context: size of the context, 0 for none.
        activation: "relu", "leaky_relu", "elu", "tanh", "sigmoid", "softplus", "silu" or "gelu".
        residual: add each hidden layer to the next one (pre-activation residual blocks).
        skip: let the outputs also read the features directly.
        norm: normalise hidden pre-activations by the root mean square over the units of the same
            degree or lower.
        group: number of features in a group (the last group may be smaller), or the sizes of the
            groups, which sum to D; the parameters of a group depend on the groups before it.
        gain: hidden weights start normal, with standard deviation gain / sqrt(number of units that
            the mask lets a unit see); hidden biases start uniform between -0.5 and 0.5.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` or a width is below 1, `context` is negative, `activation` is
            unknown, residual layers differ in width, a size in `group` is out of range, the sizes
            do not sum to D, or `gain` is not positive and finite.

    References:
        Germain et al. 2015, arXiv 1502.03509; residual blocks: He et al. 2016, arXiv 1603.05027;
        norm: Zhang and Sennrich 2019, arXiv 1910.07467; initial weights: He et al. 2015,
        arXiv 1502.01852, with masks.

    Example:
        >>> import torch
        >>> made = MADE(features=3, start=(0.0, 0.0), context=2)
        >>> made(torch.randn(5, 3), torch.randn(5, 2)).shape
        torch.Size([5, 3, 2])
    """

    settled = CachedConditioner.settled | {"layout"}

    def __init__(
        self,
        features: int,
        start: Sequence[float],
        hidden_features: Sequence[int] = (64, 64),
        context: int = 0,
        *,
        activation: str = "elu",
        residual: bool = False,
        skip: bool = False,
        norm: bool = False,
        group: int | Sequence[int] = 1,
        gain: float = 0.7,
        generator: torch.Generator | None = None,
    ) -> None:
        features = _checks.positive_integer("features", features)
        start = _checks.numbers("start", start)
        context = _checks.positive_integer("context", context, minimum=0)
        hidden = _checks.widths("hidden_features", hidden_features)
        _checks.choice("activation", activation, ACTIVATIONS)
        residual = _checks.boolean("residual", residual)
        if residual and len(set(hidden)) > 1:
            raise ValueError(
                f"hidden_features must all be equal for residual=True, got {tuple(hidden)}"
            )
        super().__init__(features, len(start), context, group)
        gain = _checks.number("gain", gain)
        if not 0 < gain < math.inf:
            raise ValueError(f"gain must be positive and finite, got {gain!r}")
        skip = _checks.boolean("skip", skip)
        norm = _checks.boolean("norm", norm)
        self.layout = Layout(
            features,
            len(start),
            hidden,
            context > 0,
            residual,
            activation,
            skip,
            norm,
            self.group,
        )
        self.plan = sweep.MADEPlan(self.layout)
        _ = self.layout.row_panels  # computed now, so that torch.compile need not trace it

        units = [len(degrees) for degrees in self.layout.degrees]
        self.weight = nn.Parameter(torch.empty(sum(map(math.prod, self.layout.shapes))))
        self.bias = nn.Parameter(torch.zeros(sum(units[1:])))
        self.context_weight = nn.Parameter(torch.empty(units[1], context)) if context else None
        normed = range(1, len(hidden) + 1) if norm else ()
        self.gains = nn.ParameterList(torch.ones(units[layer]) for layer in normed)
        self.keep_constants()
        self._initialise(start, gain, generator)

    def constants(self) -> dict[str, Tensor]:
        layout = self.layout
        normed = range(1, len(layout.hidden) + 1) if layout.norm else ()
        return {
            **{f"mask_{i}": layout.mask(*block) for i, block in enumerate(layout.blocks)},
            **{f"ends_{layer}": layout.ends(layer) for layer in normed},
        }

    @torch.no_grad()
    def _initialise(
        self, start: Sequence[float], gain: float, generator: torch.Generator | None
    ) -> None:
        """Normal weights, scaled by the number of units that the masks let each unit see.

        Scaled by the full width, units of low degree would start far too small, and tables with
        closely dependent columns would be learned several times more slowly. Without biases, the
        kinks of all units would meet at zero. Outputs start near `start`.
        """
        outputs, weights = len(self.layout.hidden) + 1, self.weights
        *biases, last = self.biases
        for block, (layer, _) in enumerate(self.layout.blocks):
            seen = self._mask(block).sum(1, keepdim=True)
            if layer == 1:
                seen = seen + self.context
            scale = (0.01 if layer == outputs else gain) * seen.clamp(min=1).rsqrt()
            nn.init.normal_(weights[block], generator=generator).mul_(scale)
            if layer == 1 and self.context_weight is not None:
                nn.init.normal_(self.context_weight, generator=generator).mul_(scale)
        for bias in biases:
            nn.init.uniform_(bias, -0.5, 0.5, generator=generator)
        last.copy_(torch.tensor(start, dtype=last.dtype).repeat(self.features))

    def _mask(self, block: int) -> Tensor:
        return getattr(self, f"mask_{block}")

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """The matrices $W_l$, views of `weight`; masked entries are never used."""
        return tuple(self.layout.matrices(self.weight))

    @property
    def biases(self) -> tuple[Tensor, ...]:
        """The biases $b_l$, views of `bias`."""
        return tuple(self.layout.biases(self.bias))

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Return `bias` and `weight`, as parameters or computed from them (pruned, parametrised).

        Avoids `getattr` on a module, which is slow compared with a call of a small network.
        """
        own = self._parameters
        bias, weight = own.get("bias"), own.get("weight")
        return self.bias if bias is None else bias, self.weight if weight is None else weight

    def shift(self, context: Tensor | None) -> Tensor | None:
        """Return a context's contribution to the first layer, (*batch, units); None for none."""
        if context is None or self.context_weight is None:
            return None
        return F.linear(context, self.context_weight)

    def offset(self, context: Tensor | None) -> Tensor:
        """Return the first layer's pre-activations without the features, ([*batch,] units)."""
        bias, shift = self.biases[0], self.shift(context)
        return bias if shift is None else bias + shift

    def tensors(self) -> list[Tensor]:
        """Return all other weights: later biases, gains and matrices."""
        return [*self.biases[1:], *self.gains, *self.weights]

    def _masks(self) -> list[Tensor]:
        return [self._mask(block) for block in range(len(self.layout.blocks))]

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        _checks.event("z", z, self.features, self.bias)
        _checks.context(context, self.context, z.shape[:-1], self.bias)
        normed = range(1, len(self.gains) + 1)
        rows = network.outputs(
            self.layout,
            z,
            self.offset(context),
            self.biases[1:],
            list(self.gains),
            self.weights,
            self._masks(),
            [self.get_buffer(f"ends_{layer}") for layer in normed],
        )
        return rows.unflatten(-1, (self.features, self.outputs)).to(z.dtype)

    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        offset = self.offset(context).to(self.bias.dtype)
        offset = offset.expand(*batch, -1).reshape(math.prod(batch), offset.shape[-1]).t()
        return offset, [*self.tensors(), *self._masks()]

    @classmethod
    def plan_from(cls, recipe: str) -> sweep.MADEPlan:
        return sweep.MADEPlan.from_recipe(recipe)
