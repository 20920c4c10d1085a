"""An LSTM over groups of features."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks
from invflow.conditioners import groups
from invflow.conditioners.base import CachedConditioner, Plan, RecordingDecoder
from invflow.conditioners.groups import Group, padded, unpadded


class _Layer(NamedTuple):
    """The weights for a layer's input and previous h, and its bias."""

    read: Tensor
    recur: Tensor
    bias: Tensor

    def step(self, value: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next h and c, (n, width), from an input, (n, size), and the previous ones."""
        width = c.shape[1]
        gates = torch.addmm(torch.addmm(self.bias, value, self.read.t()), h, self.recur.t())
        forget, write, show = torch.sigmoid(gates[:, : 3 * width]).split(width, 1)
        c = forget * c + write * torch.tanh(gates[:, 3 * width :])
        return show * torch.tanh(c), c


class _Start(NamedTuple):
    """What the context sets: the bias of the first layer, and the initial h and c of each layer."""

    gates: Tensor
    states: list[tuple[Tensor, Tensor]]


def _sizes(widths: Sequence[int]) -> list[int]:
    """Return the size of each part of a `_Start`."""
    return [4 * widths[0], *(width for width in widths for _ in "hc")]


def _start(widths: Sequence[int], offset: Tensor) -> _Start:
    gates, *states = offset.split(_sizes(widths), -1)
    return _Start(gates, list(zip(states[::2], states[1::2], strict=True)))


def _layers(depth: int, weights: Sequence[Tensor], first: Tensor) -> list[_Layer]:
    """Return the layers, given their weights in the order of `LSTM.pack`."""
    reads, recurs, biases = weights[:depth], weights[depth : 2 * depth], weights[2 * depth :]
    return list(map(_Layer, reads, recurs, [first, *biases]))


@dataclasses.dataclass(frozen=True)
class LSTMPlan(Plan):
    """An LSTM of the given widths over plain tensors."""

    widths: tuple[int, ...]
    group: Group

    @property
    def recipe(self) -> str:
        return json.dumps((self.widths, self.group))

    def groups(self, features: int) -> Sequence[int]:
        return groups.sizes(self.group, features)

    def decoder(self, offset: Tensor, weights: list[Tensor]) -> LSTMDecoder:
        return LSTMDecoder(self, offset, weights)


class LSTMDecoder(RecordingDecoder):
    """One step per group; the cached state is h and c of every layer."""

    def __init__(self, plan: LSTMPlan, offset: Tensor, weights: list[Tensor]) -> None:
        super().__init__(offset)
        *weights, token, self._out, bias = weights
        start = _start(plan.widths, offset.t())
        self._layers = _layers(len(plan.widths), weights, start.gates)
        self._states = start.states
        self._input = token.expand(offset.shape[1], -1)
        sizes = plan.groups(len(bias))
        self._biases = [part.flatten() for part in bias.split(list(sizes))]

    def _parameters(self, group: int) -> Tensor:
        value = self._input
        states: list[tuple[Tensor, Tensor]] = []
        for layer, state in zip(self._layers, self._states, strict=True):
            states.append(layer.step(value, *state))
            value, _ = states[-1]
        self._states = states
        bias = self._biases[group]
        return torch.addmm(bias, value, self._out[: len(bias)].t()).t()

    def append(self, group: int, z: Tensor) -> None:
        self._input = F.pad(z.t(), (0, self._input.shape[1] - len(z)))


class LSTM(CachedConditioner):
    r"""A long short-term memory that reads one group of features after another.

    Step d reads the previous group, $z_{d-1}$; the first step reads a learned token $z_0$. With
    $h^0_d = z_{d-1}$, layer $l = 1 .. L$ is

    $$\begin{aligned}
    (f, i, o, g) &= W^l h^{l-1}_d + U^l h^l_{d-1} + b^l \;[+\, C c \text{ for } l = 1] \\
    m^l_d &= \sigma(f) \circ m^l_{d-1} + \sigma(i) \circ \tanh(g), \qquad
    h^l_d = \sigma(o) \circ \tanh(m^l_d)
    \end{aligned}$$

    and the parameters of group d are $V h^L_d + v_d$. (Groups smaller than the largest are read as
    if they ended with zeros, and use the first rows of V.) Every $h^l_0$ and $m^l_0$ is learned, or
    linear in the context c if there is one: the context enters the initial state and every step.

    The groups share all weights except $v$, so long vectors do not need more of them. Both
    directions are loops over the groups with the same arithmetic.

    Args:
        features: number of features, D.
        start: the value each parameter of a feature starts from; its length is P.
        hidden_features: width of each layer; at least one layer.
        context: size of the context, 0 for none.
        group: as for `MADE`.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` or a width is below 1, there is no layer, `context` is negative,
            or `group` does not fit, as for `MADE`.

    References:
        Hochreiter and Schmidhuber 1997; forget gates: Gers et al. 2000; as the network of an
        inverse autoregressive flow: Kingma et al. 2016, arXiv 1606.04934, section 3.

    Example:
        >>> import torch
        >>> lstm = LSTM(features=3, start=(0.0, 0.0), hidden_features=(16,), context=2)
        >>> lstm(torch.randn(5, 3), torch.randn(5, 2)).shape
        torch.Size([5, 3, 2])
    """

    settled = CachedConditioner.settled | {"widths"}

    def __init__(
        self,
        features: int,
        start: Sequence[float],
        hidden_features: Sequence[int] = (64, 64),
        context: int = 0,
        *,
        group: int | Sequence[int] = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        features = _checks.positive_integer("features", features)
        start = _checks.numbers("start", start)
        context = _checks.positive_integer("context", context, minimum=0)
        widths = _checks.widths("hidden_features", hidden_features)
        if not widths:
            raise ValueError("hidden_features must hold at least one width, got ()")
        super().__init__(features, len(start), context, group)
        self.plan = LSTMPlan(widths, self.group)
        self.widths = widths

        largest = max(self.groups)
        inputs = [largest, *widths[:-1]]
        self.token = nn.Parameter(torch.zeros(largest))
        self.reads = nn.ParameterList(
            torch.empty(4 * w, size) for w, size in zip(widths, inputs, strict=True)
        )
        self.recurs = nn.ParameterList(torch.empty(4 * w, w) for w in widths)
        self.biases = nn.ParameterList(torch.zeros(4 * w) for w in widths[1:])
        size = sum(_sizes(widths))
        self.offset = nn.Parameter(torch.zeros(size))
        self.context_weight = nn.Parameter(torch.empty(size, context)) if context else None
        self.out = nn.Parameter(torch.empty(largest * len(start), widths[-1]))
        self.out_bias = nn.Parameter(torch.tensor(start).repeat(features, 1))
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator | None) -> None:
        """Orthogonal weights for each gate; the memory starts persistent, the outputs near zero."""
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

    def _offset(self, batch: Sequence[int], context: Tensor | None) -> Tensor:
        """Return what the context sets for each event, in the dtype of the weights."""
        offset = self.offset
        if self.context_weight is not None and context is not None:
            offset = F.linear(context, self.context_weight, offset).to(offset.dtype)
        return offset.expand(*batch, -1).reshape(-1, offset.shape[-1])

    def _inputs(self, z: Tensor) -> Tensor:
        """Return the input of each step, (*batch, groups, size): the group before its own."""
        token = self.token.to(z.dtype).expand(*z.shape[:-1], 1, -1)
        return torch.cat([token, padded(z, self.groups)[..., :-1, :]], -2)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        _checks.event("z", z, self.features, self.offset)
        _checks.context(context, self.context, z.shape[:-1], self.offset)
        start = _start(self.widths, self._offset(z.shape[:-1], context))
        layers = _layers(len(self.widths), self._weights(), start.gates)
        # Step by step: multiplying the inputs of all steps at once does not fit into a cache and
        # was slower in measurements.
        values = self._inputs(z).reshape(-1, len(self.groups), len(self.token)).unbind(1)
        for layer, (h, c) in zip(layers, start.states, strict=True):
            shown: list[Tensor] = []
            for value in values:
                h, c = layer.step(value, h, c)
                shown.append(h)
            values = shown
        params = F.linear(torch.stack(list(values), 1), self.out)
        params = unpadded(params, self.groups, self.outputs) + self.out_bias
        return params.reshape(*z.shape, self.outputs).to(z.dtype)

    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        weights = [*self._weights(), self.token, self.out, self.out_bias]
        return self._offset(batch, context).t(), weights

    @classmethod
    def plan_from(cls, recipe: str) -> LSTMPlan:
        widths, group = json.loads(recipe)
        return LSTMPlan(tuple(widths), groups.from_json(group))
