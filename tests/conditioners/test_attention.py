from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invflow.conditioners import Attention
from invflow.conditioners.attention import attend as attending
from invflow.conditioners.attention.attend import attend
from invflow.conditioners.groups import padded, unpadded
from invflow.transforms import Autoregressive
from tests.helpers import CONDITIONERS, assert_close, context_for, generator, perturbed, randn

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
    width, groups = attention.positions.shape[-1], attention.groups
    tokens = _positions(attention).expand(len(z), -1, -1).clone()
    embedding = attention.embedding.reshape(-1, width)
    for token, held in enumerate(z.split(groups, -1)[:-1], start=1):
        tokens[:, token] += held @ embedding[: held.shape[-1]]
    if context is not None:
        tokens = tokens + (context @ attention.context_weight.t()).unsqueeze(1)
    mask = nn.Transformer.generate_square_subsequent_mask(len(groups), dtype=z.dtype)
    for block in attention.blocks:
        layer = nn.TransformerEncoderLayer(
            width, attention.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        ).double()
        layer.load_state_dict({NAMES[name]: value for name, value in block.items()})
        tokens = layer(tokens, src_mask=mask)
    head = attention.head
    tokens = nn.functional.layer_norm(tokens, [width], head["norm_scale"], head["norm_shift"])
    return unpadded(tokens @ head["out"].t() + head["out_bias"], groups, attention.outputs)


def _positions(attention: Attention) -> Tensor:
    if attention.grid is None:
        return attention.positions
    height, width = attention.grid
    rows, columns = attention.positions[:height], attention.positions[height:]
    return torch.stack([rows[i] + columns[j] for i in range(height) for j in range(width)])


@pytest.mark.parametrize("name", ATTENTIONS)
def test_forward_is_torchs_causal_encoder_of_the_groups_before(name: str) -> None:
    attention = perturbed(ATTENTIONS[name]((0.3, -0.2)))
    assert isinstance(attention, Attention)
    z, context = randn(4, attention.features), context_for(attention, 4)
    assert_close(attention(z, context), _by_torch(attention, z, context), 1e-12)


def test_positions_on_a_grid_are_sums_of_rows_and_columns() -> None:
    attention = perturbed(Attention(13, (0.0,), (8,), group=(2, 3, 1, 3, 2, 2), grid=(2, 3)))
    assert attention.positions.shape == (5, 8)
    z = randn(4, 13)
    assert_close(attention(z), _by_torch(attention, z, None), 1e-12)
    with pytest.raises(ValueError, match=r"grid must be .* image of 6 groups, got \(2, 2\)"):
        Attention(6, (0.0,), (8,), grid=(2, 2))


def _attended(tokens: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return queries, keys and values, what is hidden, and a cotangent."""
    parts = [randn(2, 3, tokens, 2, 4, seed=seed).requires_grad_() for seed in range(3)]
    later = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    return parts, later, randn(2, 3, tokens, 2, 4, seed=4).requires_grad_()


def _written(queries: Tensor, keys: Tensor, values: Tensor, later: Tensor) -> Tensor:
    """Attention of one token after another."""
    found: list[Tensor] = []
    for token in range(len(later)):
        scores = (queries[..., token : token + 1, :, :] * keys).sum(-1)
        shares = scores[..., : token + 1, :].softmax(-2)
        found.append((shares.unsqueeze(-1) * values[..., : token + 1, :, :]).sum(-3))
    return torch.stack(found, -3)


@pytest.mark.parametrize("tokens", [1, 5, 70])
def test_attention_is_the_same_in_both_forms_up_to_second_derivatives(tokens: int) -> None:
    """From 65 tokens on it is fused."""
    parts, later, bar = _attended(tokens)
    results: list[list[Tensor]] = []
    for form in (attend, _written):
        found = form(*parts, later)
        firsts = torch.autograd.grad(found, parts, bar, create_graph=True)
        total = sum((first * first).sum() for first in firsts)
        alone = torch.autograd.grad(form(*parts, later), parts, bar)
        assert_close(alone, [first.detach() for first in firsts], 1e-12)
        results.append([found, *firsts, *torch.autograd.grad(total, [*parts, bar])])
    assert_close(results[0], results[1], 1e-11)


def test_many_tokens_are_fused_unless_torch_func_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    fused = attending._fused

    def counted(*parts: Tensor) -> Tensor:
        calls.append(1)
        return fused(*parts)

    monkeypatch.setattr(attending, "_fused", counted)
    parts, later, _ = _attended(70)
    plain = attend(*parts, later)
    assert len(calls) == 1
    plain.sum().backward()
    assert len(calls) == 2
    mapped = torch.func.vmap(attend, (0, 0, 0, None))(*parts, later)
    assert len(calls) == 2
    assert_close(mapped, plain, 1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("features", "group"), [(70, 1), (9, 4), (7, (1, 4, 2)), (1, 1), (5, 5)])
def test_gradient_of_the_sweep_is_that_of_the_passes(
    depth: int, features: int, group: int | tuple[int, ...]
) -> None:
    attention = perturbed(
        Attention(features, (0.0, 0.0), (8,) * depth, 2, group=group, heads=2), scale=0.3
    )
    x, context = randn(3, features).requires_grad_(), randn(3, 2, seed=1).requires_grad_()
    results: list[tuple[Tensor, ...]] = []
    for inverse in ("cached", "passes"):
        transform = Autoregressive(attention, inverse=inverse, input_bound=2.0)
        z, ladj = transform.inverse(x, context)
        bars = randn(3, features, seed=2), randn(3, seed=3)
        inputs = [x, context, *attention.parameters()]
        results.append((z, ladj, *torch.autograd.grad((z, ladj), inputs, bars)))
    assert_close(results[0], results[1], 1e-9)


def test_single_features_have_one_vector_as_before_groups_existed() -> None:
    attention = Attention(3, (0.0,), (8,), generator=generator(1))
    assert attention.embedding.shape == (8,)
    assert Attention(3, (0.0,), (8,), group=2).embedding.shape == (2, 8)
    assert padded(randn(3), attention.groups).shape == (3, 1)
