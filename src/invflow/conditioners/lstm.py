"""A conditioner with memory: an LSTM over the features."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks
from invflow.conditioners.base import CachedConditioner, Plan, RecordingDecoder


def _cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next h and c from the pre-activations of the gates, (*batch, 4 * width)."""
    width = cell.shape[-1]
    keep, write, show = torch.sigmoid(gates[..., : 3 * width]).split(width, -1)
    cell = keep * cell + write * torch.tanh(gates[..., 3 * width :])
    return show * torch.tanh(cell), cell


class _Layer(NamedTuple):
    """What a layer multiplies its input and its last h with, and what it adds."""

    read: Tensor
    recur: Tensor
    bias: Tensor


class _Start(NamedTuple):
    """What the context decides: the bias of the first layer, and where h and c start in each."""

    gates: Tensor
    states: list[tuple[Tensor, Tensor]]


def _sizes(widths: Sequence[int]) -> list[int]:
    """Return how many numbers each part of a `_Start` has."""
    return [4 * widths[0], *(width for width in widths for _ in "hc")]


def _start(widths: Sequence[int], offset: Tensor) -> _Start:
    gates, *states = offset.split(_sizes(widths), -1)
    return _Start(gates, list(zip(states[::2], states[1::2], strict=True)))


def _layers(depth: int, weights: Sequence[Tensor], first: Tensor) -> list[_Layer]:
    """Return the layers of the weights in the order of `LSTM.pack`."""
    reads, recurs, biases = weights[:depth], weights[depth : 2 * depth], weights[2 * depth :]
    return list(map(_Layer, reads, recurs, [first, *biases]))


@dataclasses.dataclass(frozen=True)
class LSTMPlan(Plan):
    """An LSTM of the given widths over plain tensors."""

    widths: tuple[int, ...]

    @property
    def recipe(self) -> str:
        return json.dumps(self.widths)

    def decoder(self, offset: Tensor, weights: list[Tensor]) -> LSTMDecoder:
        return LSTMDecoder(self.widths, offset, weights)


class LSTMDecoder(RecordingDecoder):
    """One step per feature; what it keeps is the state, h and c of every layer."""

    def __init__(self, widths: Sequence[int], offset: Tensor, weights: list[Tensor]) -> None:
        super().__init__(offset)
        *weights, token, self._out, bias = weights
        start = _start(widths, offset.t())
        self._layers = _layers(len(widths), weights, start.gates)
        self._states = start.states
        self._input = token.expand(offset.shape[1], 1)
        self._biases = bias.unbind(0)

    def _parameters(self, feature: int) -> Tensor:
        value = self._input
        states: list[tuple[Tensor, Tensor]] = []
        for layer, (h, c) in zip(self._layers, self._states, strict=True):
            gates = torch.addmm(torch.addmm(layer.bias, value, layer.read.t()), h, layer.recur.t())
            states.append(_cell(gates, c))
            value, _ = states[-1]
        self._states = states
        return torch.addmm(self._biases[feature], value, self._out.t()).t()

    def _append(self, feature: int, z: Tensor) -> None:
        self._input = z.unsqueeze(1)


class LSTM(CachedConditioner):
    r"""A long short-term memory that reads the features one after another.

    Step d reads the feature before, $z_{d-1}$, or at first a learned token $z_0$. With
    $h^0_d = z_{d-1}$, layer $l = 1 .. L$ is

    $$\begin{aligned}
    (f, i, o, g) &= W^l h^{l-1}_d + U^l h^l_{d-1} + b^l \;[+\, C c \text{ for } l = 1] \\
    m^l_d &= \sigma(f) \circ m^l_{d-1} + \sigma(i) \circ \tanh(g), \qquad
    h^l_d = \sigma(o) \circ \tanh(m^l_d)
    \end{aligned}$$

    and the parameters of feature d are $V h^L_d + v_d$. Every $h^l_0$ and $m^l_0$ is learned, and
    linear in the context c where there is one: the context enters the state and every step.

    All weights but $v$ are shared by the features, so that long vectors need no more of them. The
    parallel mode is a loop over the features, too, of one product per layer.

    Args:
        features: number of features, D.
        start: the value each parameter of a feature starts from; its length is P.
        hidden_features: width of each layer; at least one.
        context: size of the context, 0 for none.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: `features` or a width below 1, no layer, a negative `context`.

    References:
        Hochreiter and Schmidhuber 1997; forget gates: Gers et al. 2000; as the network of an
        inverse autoregressive flow: Kingma et al. 2016, arXiv 1606.04934, section 3.

    Example:
        >>> import torch
        >>> lstm = LSTM(features=3, start=(0.0, 0.0), hidden_features=(16,), context=2)
        >>> lstm(torch.randn(5, 3), torch.randn(5, 2)).shape
        torch.Size([5, 3, 2])
    """

    def __init__(
        self,
        features: int,
        start: Sequence[float],
        hidden_features: Sequence[int] = (64, 64),
        context: int = 0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        features = _checks.positive_integer("features", features)
        context = _checks.positive_integer("context", context, minimum=0)
        widths = _checks.widths("hidden_features", hidden_features)
        if not widths:
            raise ValueError("hidden_features must hold at least one width, got ()")
        super().__init__(features, len(start), context)
        self.plan = LSTMPlan(widths)
        self.widths = widths

        inputs = [1, *widths[:-1]]
        self.token = nn.Parameter(torch.zeros(1))
        self.reads = nn.ParameterList(
            torch.empty(4 * w, size) for w, size in zip(widths, inputs, strict=True)
        )
        self.recurs = nn.ParameterList(torch.empty(4 * w, w) for w in widths)
        self.biases = nn.ParameterList(torch.zeros(4 * w) for w in widths[1:])
        size = sum(_sizes(widths))
        self.offset = nn.Parameter(torch.zeros(size))
        self.context_weight = nn.Parameter(torch.empty(size, context)) if context else None
        self.out = nn.Parameter(torch.empty(len(start), widths[-1]))
        self.out_bias = nn.Parameter(torch.tensor(start).repeat(features, 1))
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        """Orthogonal weights, gate by gate; memory is kept at first; the outputs are near zero."""
        for weight in (*self.reads, *self.recurs):
            for gate in weight.chunk(4):
                nn.init.orthogonal_(gate, 1.0, generator)
        if self.context_weight is not None:
            gates, *states = self.context_weight.split(_sizes(self.widths))
            for part in (*gates.chunk(4), *states):
                nn.init.orthogonal_(part, 0.7, generator)
        for bias, width in zip([self.offset, *self.biases], self.widths, strict=True):
            bias[:width] = 1
        nn.init.orthogonal_(self.out, 0.01, generator)

    def _weights(self) -> list[Tensor]:
        return [*self.reads, *self.recurs, *self.biases]

    def _offset(self, context: Tensor | None) -> Tensor:
        """Return what the context decides, ([*batch,] offsets), in the dtype of the weights."""
        if self.context_weight is None or context is None:
            return self.offset
        return F.linear(context, self.context_weight, self.offset).to(self.offset.dtype)

    def _inputs(self, z: Tensor) -> Tensor:
        """Return what each step reads: the feature before its own."""
        return torch.cat([self.token.to(z.dtype).expand(*z.shape[:-1], 1), z[..., :-1]], -1)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        _checks.event("z", z, self.features, self.offset)
        _checks.context(context, self.context, z.shape[:-1], self.offset)
        start = _start(self.widths, self._offset(context))
        # Steps come first here, so that each is a run of memory.
        values = self._inputs(z).movedim(-1, 0).unsqueeze(-1)
        layers = _layers(len(self.widths), self._weights(), start.gates)
        for layer, (h, c) in zip(layers, start.states, strict=True):
            shown: list[Tensor] = []
            for given in (F.linear(values, layer.read) + layer.bias).unbind(0):
                h, c = _cell(given + F.linear(h, layer.recur), c)
                shown.append(h)
            values = torch.stack(shown)
        return (F.linear(values, self.out).movedim(0, -2) + self.out_bias).to(z.dtype)

    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        offset = self._offset(context)
        offset = offset.expand(*batch, -1).reshape(-1, offset.shape[-1]).t()
        return offset, [*self._weights(), self.token, self.out, self.out_bias]

    @classmethod
    def plan_from(cls, recipe: str) -> LSTMPlan:
        return LSTMPlan(tuple(json.loads(recipe)))
