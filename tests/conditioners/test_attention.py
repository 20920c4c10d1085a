from __future__ import annotations

import pytest
from torch import Tensor, nn

from invflow.conditioners import Attention
from invflow.conditioners.attention import _Cache
from tests.helpers import CONDITIONERS, assert_close, context_for, perturbed, randn

ATTENTIONS = {name: build for name, build in CONDITIONERS.items() if name.startswith("attention")}

#: The tensors of a block under the names of torch's own.
NAMES = {
    "norm_scale": "norm1.weight",
    "norm_shift": "norm1.bias",
    "read": "self_attn.in_proj_weight",
    "read_bias": "self_attn.in_proj_bias",
    "write": "self_attn.out_proj.weight",
    "write_bias": "self_attn.out_proj.bias",
    "inner_norm_scale": "norm2.weight",
    "inner_norm_shift": "norm2.bias",
    "up": "linear1.weight",
    "up_bias": "linear1.bias",
    "down": "linear2.weight",
    "down_bias": "linear2.bias",
}


def _by_torch(attention: Attention, z: Tensor, context: Tensor | None) -> Tensor:
    """The same network of torch's own layers."""
    width = len(attention.embedding)
    tokens = attention.positions.expand(len(z), -1, -1).clone()
    tokens[:, 1:] += z[:, :-1, None] * attention.embedding
    if context is not None:
        tokens = tokens + (context @ attention.context_weight.t()).unsqueeze(1)
    mask = nn.Transformer.generate_square_subsequent_mask(z.shape[1], dtype=z.dtype)
    for block in attention.blocks:
        layer = nn.TransformerEncoderLayer(
            width, attention.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        ).double()
        layer.load_state_dict({NAMES[name]: value for name, value in block.items()})
        tokens = layer(tokens, src_mask=mask)
    head = attention.head
    tokens = nn.functional.layer_norm(tokens, [width], head["norm_scale"], head["norm_shift"])
    return tokens @ head["out"].t() + head["out_bias"]


@pytest.mark.parametrize("name", ATTENTIONS)
def test_forward_is_torchs_causal_encoder_of_the_features_before(name: str) -> None:
    attention = perturbed(ATTENTIONS[name]((0.3, -0.2)))
    assert isinstance(attention, Attention)
    z, context = randn(4, attention.features), context_for(attention, 4)
    assert_close(attention(z, context), _by_torch(attention, z, context), 1e-12)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 100])
def test_cache_finds_what_whole_keys_and_values_say(length: int) -> None:
    keys, values, queries = (randn(6, length, 4, seed=seed) for seed in range(3))
    cache = _Cache()
    for i in range(length):
        token = slice(i, i + 1)
        cache.append(keys[:, token], values[:, token])
        scores = queries[:, token] @ keys[:, : i + 1].transpose(1, 2)
        expected = scores.softmax(-1) @ values[:, : i + 1]
        assert_close(cache.find(queries[:, token]), expected, 1e-12)
