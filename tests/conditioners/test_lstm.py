from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invflow.conditioners import LSTM, groups
from tests.helpers import CONDITIONERS, assert_close, context_for, perturbed, randn

LSTMS = {name: build for name, build in CONDITIONERS.items() if name.startswith("lstm")}


def _torchs_order(gates: Tensor) -> Tensor:
    """Return the rows of forget, input, output and cell gates in torch's order."""
    f, i, o, g = gates.chunk(4)
    return torch.cat([i, f, g, o])


@torch.no_grad()
def _by_torch(lstm: LSTM, z: Tensor, context: Tensor | None) -> Tensor:
    """The same network of torch's own layers, with the context beside the first one's input."""
    batch = len(z)
    offset = lstm.offset.expand(batch, -1)
    if context is not None:
        offset = offset + context @ lstm.context_weight.t()
    first, *states = offset.split([4 * lstm.widths[0], *(2 * w for w in lstm.widths)], -1)
    tokens = groups.padded(z, lstm.groups)
    steps = torch.cat([lstm.token.expand(batch, 1, tokens.shape[-1]), tokens[:, :-1]], 1)
    for layer, (width, state) in enumerate(zip(lstm.widths, states, strict=True)):
        # What the first layer adds differs from one batch element to the next: it is read from
        # further inputs that are one-hot.
        read = lstm.reads[layer]
        if layer == 0:
            one_hot = torch.eye(batch, dtype=z.dtype).unsqueeze(1).expand(-1, tokens.shape[1], -1)
            steps, read = torch.cat([steps, one_hot], -1), torch.cat([read, first.t()], 1)
        own = nn.LSTM(read.shape[1], width, batch_first=True).double()
        own.weight_ih_l0.copy_(_torchs_order(read))
        own.weight_hh_l0.copy_(_torchs_order(lstm.recurs[layer]))
        own.bias_ih_l0.copy_(_torchs_order(lstm.biases[layer - 1]) if layer else 0 * own.bias_ih_l0)
        own.bias_hh_l0.zero_()
        h, c = (part.unsqueeze(0).contiguous() for part in state.chunk(2, -1))
        steps, _ = own(steps, (h, c))
    return groups.unpadded(steps @ lstm.out.t(), lstm.groups, lstm.outputs) + lstm.out_bias


@pytest.mark.parametrize("name", LSTMS)
def test_forward_is_torchs_lstm_of_the_features_before(name: str) -> None:
    lstm = perturbed(LSTMS[name]((0.3, -0.2)))
    assert isinstance(lstm, LSTM)
    z, context = randn(4, lstm.features), context_for(lstm, 4)
    assert_close(lstm(z, context), _by_torch(lstm, z, context), 1e-12)


def test_memory_is_kept_at_first_and_recurrent_weights_are_orthogonal() -> None:
    lstm = LSTM(5, (0.0, 0.0), (6, 4), context=2).double()
    for bias, width in zip([lstm.offset, *lstm.biases], lstm.widths, strict=True):
        assert (bias[:width] == 1).all()
        assert not bias[width:].any()
    for recur, width in zip(lstm.recurs, lstm.widths, strict=True):
        for gate in recur.chunk(4):
            assert_close(gate @ gate.t(), torch.eye(width, dtype=torch.float64), 1e-5)


def test_first_feature_has_parameters_that_are_learned() -> None:
    lstm = perturbed(LSTM(3, (0.0, 0.0), (5,)))
    first = lstm(randn(3))[0].sum()
    for name in ("token", "offset", "reads.0", "recurs.0", "out", "out_bias"):
        (gradient,) = torch.autograd.grad(first, lstm.get_parameter(name), retain_graph=True)
        assert gradient.any(), name
