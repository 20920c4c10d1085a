"""Causal attention of all tokens at once."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from invflow._torch import eager

#: The number of tokens from which PyTorch's fused kernels are faster on a CPU. Below it, the matrix
#: of all pairs of tokens is small.
_FUSED_FROM = 65


def attend(queries: Tensor, keys: Tensor, values: Tensor, later: Tensor) -> Tensor:
    """Return the values that queries attend to, all (*batch, tokens, heads, size).

    Many tokens take PyTorch's fused kernels, whose memory is linear in the number of tokens. These
    have only first derivatives, and no rule for vmap. So attention is written out under
    `torch.compile`, `torch.func` and forward mode, for second derivatives, and for few tokens.

    Args:
        queries: scaled.
        keys: one for each token.
        values: one for each token.
        later: which tokens (columns) come after a token (row), and are hidden from it.
    """
    queries, keys, values = (part.transpose(-2, -3) for part in (queries, keys, values))
    if len(later) >= _FUSED_FROM and eager():
        found = cast(Any, _Fused).apply(queries, keys, values, later)
    else:
        found = _shares(queries, keys, later) @ values
    return found.transpose(-2, -3)


def _shares(queries: Tensor, keys: Tensor, later: Tensor) -> Tensor:
    scores = (queries @ keys.transpose(-1, -2)).masked_fill(later, float("-inf"))
    return scores.softmax(-1)


def _fused(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    # The fused kernels want exactly one batch dimension.
    whole = queries.shape
    shape = (math.prod(queries.shape[:-3]), *queries.shape[-3:])
    queries, keys, values = (part.reshape(shape) for part in (queries, keys, values))
    found = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=1.0)
    return found.reshape(whole)


class _Fused(Function):
    """Fused attention, whose second derivatives are those of the written-out form."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, later: Tensor) -> Tensor:
        ctx.save_for_backward(queries, keys, values, later)
        return _fused(queries, keys, values)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        queries, keys, values, later = ctx.saved_tensors
        (cotangent,) = cotangents
        if not torch.is_grad_enabled():  # only first derivatives are asked for
            with torch.enable_grad():
                parts = [part.detach().requires_grad_() for part in (queries, keys, values)]
                found = _fused(*parts)
            return *torch.autograd.grad(found, parts, cotangent), None
        shares = _shares(queries, keys, later)
        scores = pulled(shares, cotangent @ values.transpose(-1, -2))
        by_keys = scores.transpose(-1, -2) @ queries
        return scores @ keys, by_keys, shares.transpose(-1, -2) @ cotangent, None


def pulled(shares: Tensor, cotangents: Tensor) -> Tensor:
    """Return the cotangents of scores from those of their softmax."""
    products = shares * cotangents
    return products - shares * products.sum(-1, keepdim=True)
