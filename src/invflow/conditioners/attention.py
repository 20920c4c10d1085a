"""Attention: a transformer over the features."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks
from invflow._torch import forward_mode
from invflow.conditioners.base import CachedConditioner, Plan, RecordingDecoder

#: Added to variances before dividing by them.
_SMALL = 1e-5


def _normalised(tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    if not forward_mode():
        return F.layer_norm(tokens, tokens.shape[-1:], scale, shift, _SMALL)
    # Written out: PyTorch's own omits terms of second derivatives, without an error, when the first
    # derivatives are taken in forward mode.
    centred = tokens - tokens.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return torch.addcmul(shift, centred * torch.rsqrt(variance + _SMALL), scale)


class _Block(NamedTuple):
    """The weights of a block, and the operations on each token alone, (*batch, width)."""

    norm_scale: Tensor
    norm_shift: Tensor
    read: Tensor
    read_bias: Tensor
    write: Tensor
    write_bias: Tensor
    inner_norm_scale: Tensor
    inner_norm_shift: Tensor
    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor

    def before(self, tokens: Tensor, heads: int) -> tuple[Tensor, ...]:
        """Return scaled queries, keys and values, each (*batch, heads, width / heads)."""
        tokens = _normalised(tokens, self.norm_scale, self.norm_shift)
        parts = F.linear(tokens, self.read, self.read_bias).unflatten(-1, (3, heads, -1))
        queries, keys, values = parts.unbind(-3)
        return queries * queries.shape[-1] ** -0.5, keys, values

    def after(self, tokens: Tensor, found: Tensor) -> Tensor:
        """Return the next tokens from these and the result of their attention."""
        tokens = tokens + F.linear(found.flatten(-2), self.write, self.write_bias)
        inner = _normalised(tokens, self.inner_norm_scale, self.inner_norm_shift)
        inner = F.gelu(F.linear(inner, self.up, self.up_bias))
        return tokens + F.linear(inner, self.down, self.down_bias)


def _new_block(width: int, depth: int, generator: torch.Generator | None) -> _Block:
    """Orthogonal weights, scaled so that all blocks together add about the size of a token."""

    def matrix(rows: int, columns: int, gain: float) -> Tensor:
        return nn.init.orthogonal_(torch.empty(rows, columns), gain, generator)

    return _Block(
        norm_scale=torch.ones(width),
        norm_shift=torch.zeros(width),
        read=matrix(3 * width, width, 3**0.5),
        read_bias=torch.zeros(3 * width),
        write=matrix(width, width, (2 * depth) ** -0.5),
        write_bias=torch.zeros(width),
        inner_norm_scale=torch.ones(width),
        inner_norm_shift=torch.zeros(width),
        up=matrix(4 * width, width, 2.0),
        up_bias=torch.zeros(4 * width),
        down=matrix(width, 4 * width, (2 * depth) ** -0.5),
        down_bias=torch.zeros(width),
    )


class _Head(NamedTuple):
    """The layers after the last block."""

    norm_scale: Tensor
    norm_shift: Tensor
    out: Tensor
    out_bias: Tensor

    def __call__(self, tokens: Tensor) -> Tensor:
        tokens = _normalised(tokens, self.norm_scale, self.norm_shift)
        return F.linear(tokens, self.out, self.out_bias)


class _Cache:
    """Keys and values so far, in pieces whose lengths are powers of two.

    A new one is merged with the last piece while both have the same length, like a carry in a
    binary counter, so D of them are copied log D times each. A single tensor would be copied whole
    for each token, and autograd would keep all copies.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[Tensor, Tensor]] = []

    def append(self, keys: Tensor, values: Tensor) -> None:
        """Add one key and one value, (n, 1, size)."""
        while self._pieces and self._pieces[-1][0].shape[1] == keys.shape[1]:
            before = self._pieces.pop()
            keys, values = torch.cat([before[0], keys], 1), torch.cat([before[1], values], 1)
        self._pieces.append((keys, values))

    def find(self, queries: Tensor) -> Tensor:
        """Return the values that queries, (n, 1, size), attend to."""
        scores = [queries @ keys.transpose(1, 2) for keys, _ in self._pieces]
        sizes = [score.shape[-1] for score in scores]
        shares = torch.cat(scores, -1).softmax(-1).split(sizes, -1)
        found = [s @ values for s, (_, values) in zip(shares, self._pieces, strict=True)]
        return torch.stack(found).sum(0)


@dataclasses.dataclass(frozen=True)
class AttentionPlan(Plan):
    """Attention over plain tensors; apart from the number of heads, their shapes define it."""

    heads: int

    @property
    def recipe(self) -> str:
        return json.dumps(self.heads)

    def decoder(self, offset: Tensor, weights: list[Tensor]) -> AttentionDecoder:
        return AttentionDecoder(self.heads, offset, weights)


class AttentionDecoder(RecordingDecoder):
    """One token per feature, which attends to the cached keys and values of earlier tokens."""

    def __init__(self, heads: int, offset: Tensor, weights: list[Tensor]) -> None:
        super().__init__(offset)
        positions, self._embedding, *inner = weights
        size, ends = len(_Block._fields), len(inner) - len(_Head._fields)
        self._blocks = [_Block(*inner[i : i + size]) for i in range(0, ends, size)]
        self._head = _Head(*inner[ends:])
        self._heads = heads
        self._caches = [_Cache() for _ in self._blocks]
        self._context = offset.t()
        self._positions = positions.unbind(0)
        self._token = self._context + self._positions[0]

    def _parameters(self, group: int) -> Tensor:
        tokens = self._token
        for block, cache in zip(self._blocks, self._caches, strict=True):
            queries, keys, values = (
                part.flatten(0, 1).unsqueeze(1) for part in block.before(tokens, self._heads)
            )
            cache.append(keys, values)
            found = cache.find(queries).unflatten(0, (-1, self._heads)).squeeze(2)
            tokens = block.after(tokens, found)
        return self._head(tokens).t()

    def append(self, group: int, z: Tensor) -> None:
        if group + 1 < len(self._positions):
            token = self._context + self._positions[group + 1]
            self._token = torch.addcmul(token, z.t(), self._embedding)


class Attention(CachedConditioner):
    r"""A causal transformer: each feature attends to those before it.

    There is one token per feature d, which holds the feature before it. With learned positions
    $s_d$ ($s_1$ is the start token),

    $$t_1 = s_1 \;[+\, C c], \qquad t_d = s_d + e\, z_{d-1} \;[+\, C c]$$

    so that attention from token d to tokens $1 .. d$ is attention to the features $1 .. d - 1$ and
    the context c. With layer normalisation N, each block $l = 1 .. L$ adds to every token,

    $$t \leftarrow t + A_l(N(t)), \qquad t \leftarrow t + M_l(N(t))$$

    where $A_l$ is causal multi-head attention and $M_l$ a perceptron with one hidden layer, four
    times as wide, and GELU. The parameters of feature d are $V N(t_d) + v$.

    Args:
        features: number of features, D.
        start: the value each parameter of a feature starts from; its length is P.
        hidden_features: width of each block; all equal, at least one block.
        context: size of the context, 0 for none.
        heads: number of attention heads; must divide the width.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` or `heads` is below 1, `context` is negative, there is no block,
            the widths differ, are below 3 (layer normalisation would leave nothing), or are not
            divisible by `heads`.

    References:
        Vaswani et al. 2017, arXiv 1706.03762, section 3; normalisation before each part: Xiong et
        al. 2020, arXiv 2002.04745.

    Example:
        >>> import torch
        >>> attention = Attention(features=3, start=(0.0, 0.0), hidden_features=(16,), context=2)
        >>> attention(torch.randn(5, 3), torch.randn(5, 2)).shape
        torch.Size([5, 3, 2])
    """

    settled = CachedConditioner.settled | {"heads"}
    later: Tensor

    def __init__(
        self,
        features: int,
        start: Sequence[float],
        hidden_features: Sequence[int] = (64, 64),
        context: int = 0,
        *,
        heads: int = 4,
        generator: torch.Generator | None = None,
    ) -> None:
        features = _checks.positive_integer("features", features)
        start = _checks.numbers("start", start)
        context = _checks.positive_integer("context", context, minimum=0)
        heads = _checks.positive_integer("heads", heads)
        widths = _checks.widths("hidden_features", hidden_features)
        if not widths or len(set(widths)) > 1:
            raise ValueError(
                f"hidden_features must be one or more equal widths for attention, got {widths}"
            )
        width, depth = widths[0], len(widths)
        if width < 3:
            raise ValueError(f"hidden_features must be at least 3 for attention, got {widths}")
        if width % heads:
            raise ValueError(f"heads must divide the width {width} of the blocks, got {heads}")
        super().__init__(features, len(start), context)
        self.plan = AttentionPlan(heads)
        self.heads = heads

        # Positions and features start equally large: normalised alone, a feature would be its sign.
        normal = nn.init.normal_
        self.positions = nn.Parameter(normal(torch.empty(features, width), generator=generator))
        self.embedding = nn.Parameter(normal(torch.empty(width), generator=generator))
        self.context_weight = (
            nn.Parameter(normal(torch.empty(width, context), 0, context**-0.5, generator))
            if context
            else None
        )
        self.blocks = nn.ModuleList(
            nn.ParameterDict(_new_block(width, depth, generator)._asdict()) for _ in widths
        )
        head = _Head(
            norm_scale=torch.ones(width),
            norm_shift=torch.zeros(width),
            out=nn.init.orthogonal_(torch.empty(len(start), width), 0.01, generator),
            out_bias=torch.tensor(start),
        )
        self.head = nn.ParameterDict(head._asdict())
        self.keep_constants()

    def constants(self) -> dict[str, Tensor]:
        return {"later": torch.ones(self.features, self.features, dtype=torch.bool).triu(1)}

    def _blocks(self) -> list[_Block]:
        blocks = cast(Iterable[nn.ParameterDict], self.blocks)
        return [_Block(*(block[name] for name in _Block._fields)) for block in blocks]

    def _head(self) -> _Head:
        return _Head(*(self.head[name] for name in _Head._fields))

    def _offset(self, context: Tensor | None) -> Tensor:
        """Return what the context adds to every token, ([*batch,] width), in the weights' dtype."""
        if self.context_weight is None or context is None:
            return torch.zeros_like(self.embedding)
        return F.linear(context, self.context_weight).to(self.embedding.dtype)

    def _before(self, z: Tensor) -> Tensor:
        """Return the feature that each token holds: the one before its own; none for the first."""
        return F.pad(z[..., :-1], (1, 0))

    def _find(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return the values that queries attend to, all (*batch, tokens, heads, size)."""
        queries, keys, values = (part.transpose(-2, -3) for part in (queries, keys, values))
        # Written out: torch's fused kernels have only first derivatives, and on a CPU those have no
        # vmap rule.
        scores = (queries @ keys.transpose(-1, -2)).masked_fill(self.later, float("-inf"))
        return (scores.softmax(-1) @ values).transpose(-2, -3)

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        _checks.event("z", z, self.features, self.embedding)
        _checks.context(context, self.context, z.shape[:-1], self.embedding)
        tokens = self._offset(context).unsqueeze(-2) + self.positions
        tokens = torch.addcmul(tokens, self._before(z).unsqueeze(-1), self.embedding)
        for block in self._blocks():
            tokens = block.after(tokens, self._find(*block.before(tokens, self.heads)))
        return self._head()(tokens).to(z.dtype)

    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        offset = self._offset(context)
        offset = offset.expand(*batch, -1).reshape(math.prod(batch), offset.shape[-1]).t()
        blocks = [tensor for block in self._blocks() for tensor in block]
        return offset, [self.positions, self.embedding, *blocks, *self._head()]

    @classmethod
    def plan_from(cls, recipe: str) -> AttentionPlan:
        return AttentionPlan(json.loads(recipe))
