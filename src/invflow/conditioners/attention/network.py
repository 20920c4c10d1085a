"""Attention: a transformer over groups of features."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow import _checks
from invflow.conditioners.attention.attend import attend
from invflow.conditioners.attention.block import Block, Head, new_block
from invflow.conditioners.attention.plan import AttentionPlan
from invflow.conditioners.attention.weights import Weights
from invflow.conditioners.base import CachedConditioner
from invflow.conditioners.groups import padded, unpadded


class Attention(CachedConditioner):
    r"""A causal transformer: each group of features attends to the groups before it.

    There is one token per group k of the features, which holds the group before it, $z_{k-1}$. With
    learned positions $s_k$ ($s_1$ is the start token),

    $$t_1 = s_1 \;[+\, C c], \qquad t_k = s_k + E\, z_{k-1} \;[+\, C c]$$

    so that attention from token k to tokens $1 .. k$ is attention to the groups $1 .. k - 1$ and
    the context c. With layer normalisation N, each block $l = 1 .. L$ adds to every token,

    $$t \leftarrow t + A_l(N(t)), \qquad t \leftarrow t + M_l(N(t))$$

    where $A_l$ is causal multi-head attention and $M_l$ a perceptron with one hidden layer, four
    times as wide, and GELU. The parameters of the features of group k are $V N(t_k) + v$. With a
    `grid`, the position of a token is the sum of its row's and its column's.

    Args:
        features: number of features, D.
        start: the value each parameter of a feature starts from; its length is P.
        hidden_features: width of each block; all equal, at least one block.
        context: size of the context, 0 for none.
        group: number of features in a group (the last group may be smaller), or the sizes of the
            groups, which sum to D.
        heads: number of attention heads; must divide the width.
        grid: height and width of an image of groups, row by row; None if the groups are not
            an image.
        generator: random numbers for the initial weights; torch's own by default.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `features` or `heads` is below 1, `context` is negative, `group` or `grid`
            does not fit the features, there is no block, the widths differ, are below 3 (layer
            normalisation would leave nothing), or are not divisible by `heads`.

    References:
        Vaswani et al. 2017, arXiv 1706.03762, section 3; normalisation before each part: Xiong et
        al. 2020, arXiv 2002.04745; patches of an image as groups: Zhai et al. 2024, arXiv
        2412.06329.

    Example:
        >>> import torch
        >>> attention = Attention(features=6, start=(0.0, 0.0), hidden_features=(16,), group=2)
        >>> attention(torch.randn(5, 6)).shape
        torch.Size([5, 6, 2])
    """

    settled = CachedConditioner.settled | {"heads", "grid"}
    later: Tensor

    def __init__(
        self,
        features: int,
        start: Sequence[float],
        hidden_features: Sequence[int] = (64, 64),
        context: int = 0,
        *,
        group: int | Sequence[int] = 1,
        heads: int = 4,
        grid: Sequence[int] | None = None,
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
        super().__init__(features, len(start), context, group)
        self.plan = AttentionPlan(features, self.group, width, depth, heads)
        self.heads = heads
        self.grid = None if grid is None else _grid(grid, len(self.groups))

        # Positions and groups start equally large: normalised alone, a feature would be its sign.
        def normal(*shape: int, scale: float = 1.0) -> nn.Parameter:
            return nn.Parameter(nn.init.normal_(torch.empty(shape), 0, scale, generator))

        if self.grid is None:
            self.positions = normal(len(self.groups), width)
        else:
            self.positions = normal(sum(self.grid), width, scale=0.5**0.5)
        largest = max(self.groups)
        # One vector where groups are single features.
        shape = (width,) if largest == 1 else (largest, width)
        self.embedding = normal(*shape, scale=largest**-0.5)
        self.context_weight = normal(width, context, scale=context**-0.5) if context else None
        self.blocks = nn.ModuleList(
            nn.ParameterDict(new_block(width, depth, generator)._asdict()) for _ in widths
        )
        outputs = largest * len(start)
        head = Head(
            norm_scale=torch.ones(width),
            norm_shift=torch.zeros(width),
            out=nn.init.orthogonal_(torch.empty(outputs, width), 0.01, generator),
            out_bias=torch.tensor(start).repeat(largest),
        )
        self.head = nn.ParameterDict(head._asdict())
        self.keep_constants()

    def constants(self) -> dict[str, Tensor]:
        tokens = len(self.groups)
        return {"later": torch.ones(tokens, tokens, dtype=torch.bool).triu(1)}

    def _weights(self) -> Weights:
        positions = self.positions
        if self.grid is not None:
            rows, columns = positions.split(self.grid)
            positions = (rows.unsqueeze(1) + columns).flatten(0, 1)
        blocks = cast(Iterable[nn.ParameterDict], self.blocks)
        return Weights(
            positions,
            self.embedding.reshape(-1, positions.shape[-1]),
            [Block(*(block[name] for name in Block._fields)) for block in blocks],
            Head(*(self.head[name] for name in Head._fields)),
        )

    def _offset(self, context: Tensor | None) -> Tensor:
        """Return what the context adds to every token, ([*batch,] width), in the weights' dtype."""
        if self.context_weight is None or context is None:
            return self.positions.new_zeros(self.positions.shape[-1])
        return F.linear(context, self.context_weight).to(self.positions.dtype)

    def _before(self, z: Tensor) -> Tensor:
        """Return the features that each token holds, (*batch, tokens, largest group).

        They are the group before its own; the first token holds none.
        """
        return F.pad(padded(z, self.groups)[..., :-1, :], (0, 0, 1, 0))

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        _checks.event("z", z, self.features, self.embedding)
        _checks.context(context, self.context, z.shape[:-1], self.embedding)
        positions, embedding, blocks, head = self._weights()
        tokens = self._offset(context).unsqueeze(-2) + positions
        tokens = tokens + self._before(z) @ embedding
        for block in blocks:
            found = attend(*block.ask(tokens, self.heads), self.later)
            tokens = block.after(tokens, found.flatten(-2))
        return unpadded(head(tokens), self.groups, self.outputs).to(z.dtype)

    def pack(self, batch: Sequence[int], context: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        offset = self._offset(context)
        offset = offset.expand(*batch, -1).reshape(math.prod(batch), offset.shape[-1]).t()
        return offset, self._weights().flat

    @classmethod
    def plan_from(cls, recipe: str) -> AttentionPlan:
        return AttentionPlan.from_recipe(recipe)


def _grid(grid: Sequence[int], tokens: int) -> tuple[int, int]:
    """Return the height and width of a grid of tokens."""
    sizes = _checks.widths("grid", grid)
    if len(sizes) != 2 or math.prod(sizes) != tokens:
        raise ValueError(
            f"grid must be the height and width of an image of {tokens} groups, got {sizes}"
        )
    return sizes[0], sizes[1]
