from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invflow.conditioners import ACTIVATIONS, MADE
from tests.helpers import CONDITIONERS, assert_close, context_for, generator, perturbed, randn

MADES = {name: build for name, build in CONDITIONERS.items() if name.startswith("made")}


def _dense(made: MADE, z: Tensor, context: Tensor | None) -> Tensor:
    """The whole masked matrices, multiplied as the formula says."""
    layout, rows = made.layout, z
    phi = ACTIVATIONS[layout.activation].function
    matrices = [
        weight * made.get_buffer(f"mask_{block}") for block, weight in enumerate(made.weights)
    ]
    for layer, bias in enumerate(made.biases, start=1):
        before, values = rows, rows if layer == 1 else phi(_normalised(made, layer - 1, rows))
        rows = values @ matrices[layer - 1].t() + bias
        if layer == 1 and context is not None:
            rows = rows + context @ made.context_weight.t()
        if layout.residual and 1 < layer <= len(layout.hidden):
            rows = rows + before
    if layout.direct:
        rows = rows + z @ matrices[-1].t()
    return rows.unflatten(-1, (made.features, made.outputs))


def _normalised(made: MADE, layer: int, rows: Tensor) -> Tensor:
    """Normalise unit by unit, as the formula says."""
    if not made.layout.norm:
        return rows
    degrees = made.layout.degrees[layer]
    columns = []
    for k, degree in enumerate(degrees):
        seen = rows[..., [j for j, other in enumerate(degrees) if other <= degree]]
        mean_square = (1 + seen.square().sum(-1)) / (1 + seen.shape[-1])
        columns.append(made.gains[layer - 1][k] * rows[..., k] / mean_square.sqrt())
    return torch.stack(columns, -1)


@pytest.mark.parametrize("name", MADES)
def test_forward_is_the_masked_network(name: str) -> None:
    made = perturbed(MADES[name]((0.0, 0.0)))
    assert isinstance(made, MADE)
    z, context = randn(4, made.features), context_for(made, 4)
    assert_close(made(z, context), _dense(made, z, context), 1e-12)


@pytest.mark.parametrize("name", MADES)
def test_units_are_sorted_by_degree_and_prefixes_hold_what_a_panel_sees(name: str) -> None:
    made = MADES[name]((0.0, 0.0))
    assert isinstance(made, MADE)
    layout = made.layout
    assert all(degrees == sorted(degrees) for degrees in layout.degrees)
    for (layer, source), panels in zip(layout.blocks, layout.row_panels, strict=True):
        mask = layout.mask(layer, source)
        assert [first for first, _, _ in panels][1:] == [end for _, end, _ in panels][:-1]
        assert (panels[0][0], panels[-1][1]) == (0, len(mask))
        assert all(not mask[first:end, seen:].any() for first, end, seen in panels)


def test_wide_layers_skip_arithmetic_by_panels() -> None:
    layout = CONDITIONERS["made-65-row-panels"]((0.0, 0.0)).layout
    panels = layout.row_panels[1]
    done = sum((end - first) * seen for first, end, seen in panels)
    assert done < 0.7 * 520 * 512


def test_same_generator_same_weights_and_torchs_own_is_untouched() -> None:
    state = torch.get_rng_state()
    first, second, other = (
        MADE(3, (0.0, 0.0), context=2, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert not torch.equal(first.weights[0], other.weights[0])


@pytest.mark.parametrize(("gain", "context"), [(2**0.5, 0), (0.5, 3)])
def test_units_of_every_degree_start_with_the_size_asked_for(gain: float, context: int) -> None:
    made = MADE(16, (0.0,), (1600, 30), context=context, gain=gain, generator=generator(1))
    made.requires_grad_(False)
    z, given = randn(400, 16), randn(400, context, seed=2)
    rows = z @ (made.weights[0] * made.get_buffer("mask_0")).t().double()
    if made.context_weight is not None:
        rows = rows + given @ made.context_weight.t().double()
    degrees = torch.tensor(made.layout.degrees[1])
    for degree in degrees.unique():
        size = rows[:, degrees == degree].square().mean().sqrt()
        assert abs(float(size) / gain - 1) < 0.15, degree
    assert made(z.float(), given.float() if context else None).abs().max() < 0.2


@pytest.mark.parametrize("gain", [0.0, -1.0, float("nan"), float("inf")])
def test_a_gain_that_is_none_is_refused(gain: float) -> None:
    with pytest.raises(ValueError, match="gain must be positive and finite, got"):
        MADE(3, (0.0,), gain=gain)
