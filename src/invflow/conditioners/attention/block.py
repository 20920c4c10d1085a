"""The layers of a transformer: what they do to each token alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow._torch import forward_mode

#: Added to variances before dividing by them.
_SMALL = 1e-5


def standardised(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens with mean zero and variance one, and the inverse of their deviation."""
    centred = tokens - tokens.mean(-1, keepdim=True)
    inverse = torch.rsqrt(centred.square().mean(-1, keepdim=True) + _SMALL)
    return centred * inverse, inverse


def normalised(tokens: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return the layer normalisation of tokens."""
    if not forward_mode():
        return F.layer_norm(tokens, tokens.shape[-1:], scale, shift, _SMALL)
    # Written out: PyTorch's own omits terms of second derivatives, without an error, when the first
    # derivatives are taken in forward mode.
    return torch.addcmul(shift, standardised(tokens)[0], scale)


class Block(NamedTuple):
    """The weights of a block, and its operations on each token alone, (*batch, width)."""

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

    def ask(self, tokens: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return scaled queries, keys and values, each (*batch, heads, width / heads)."""
        tokens = normalised(tokens, self.norm_scale, self.norm_shift)
        return split_heads(F.linear(tokens, self.read, self.read_bias), heads)

    def answer(self, tokens: Tensor, found: Tensor) -> Tensor:
        """Return tokens with the result of their attention, (*batch, width), added."""
        return tokens + F.linear(found, self.write, self.write_bias)

    def widen(self, tokens: Tensor) -> Tensor:
        """Return the hidden layer of the perceptron, before its activation."""
        tokens = normalised(tokens, self.inner_norm_scale, self.inner_norm_shift)
        return F.linear(tokens, self.up, self.up_bias)

    def narrow(self, tokens: Tensor, inner: Tensor) -> Tensor:
        """Return tokens with the output of the perceptron added."""
        return tokens + F.linear(F.gelu(inner), self.down, self.down_bias)

    def after(self, tokens: Tensor, found: Tensor) -> Tensor:
        """Return the next tokens from these and the result of their attention."""
        tokens = self.answer(tokens, found)
        return self.narrow(tokens, self.widen(tokens))


def split_heads(asked: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return scaled queries, keys and values from all of them side by side."""
    queries, keys, values = asked.unflatten(-1, (3, heads, -1)).unbind(-3)
    return queries * queries.shape[-1] ** -0.5, keys, values


def new_block(width: int, depth: int, generator: torch.Generator | None) -> Block:
    """Orthogonal weights, scaled so that all blocks together add about the size of a token."""

    def matrix(rows: int, columns: int, gain: float) -> Tensor:
        return nn.init.orthogonal_(torch.empty(rows, columns), gain, generator)

    return Block(
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


class Head(NamedTuple):
    """The layers after the last block."""

    norm_scale: Tensor
    norm_shift: Tensor
    out: Tensor
    out_bias: Tensor

    def __call__(self, tokens: Tensor) -> Tensor:
        tokens = normalised(tokens, self.norm_scale, self.norm_shift)
        return F.linear(tokens, self.out, self.out_bias)
