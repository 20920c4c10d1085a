from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils.flop_counter import FlopCounterMode

from invflow import IAF
from invflow.conditioners import ACTIVATIONS, MaskedConvolution, raster_order
from invflow.transforms import Autoregressive
from tests.conditioners.causality import assert_strictly_causal
from tests.helpers import (
    DIRECTIONS,
    Both,
    assert_close,
    context_for,
    generator,
    gradients,
    perturbed,
    randn,
)
from tests.transforms.test_work import MultiplyAdds, counted

Shape = tuple[int, int, int]


def _network(shape: Shape, hidden: Sequence[int] = (5, 4), **options: Any) -> MaskedConvolution:
    settings = {"shape": shape, "generator": generator(5), **options}
    return perturbed(MaskedConvolution(math.prod(shape), (0.0, 0.0), hidden, **settings))


#: Networks of every kind: shape, hidden layers, options.
NETWORKS: dict[str, Callable[[], MaskedConvolution]] = {
    "one-channel": lambda: _network((1, 3, 3), context=9),
    "channels": lambda: _network((3, 3, 4), (7, 5)),
    "wide": lambda: _network((2, 2, 5), (4,), context=20),
    "high": lambda: _network((2, 5, 1), (4, 3)),
    "narrow": lambda: _network((3, 3, 2), (2, 1), context=6),
    "no-hidden": lambda: _network((2, 3, 3), (), context=9),
    "kernel-1": lambda: _network((3, 2, 2), (4, 6), context=4, kernel_size=1),
    "kernel-5": lambda: _network((2, 3, 4), (4, 3, 5), context=24, kernel_size=5),
    "context-kernel-1": lambda: _network((2, 3, 3), context=18, context_kernel_size=1),
    "context-kernel-5": lambda: _network((2, 3, 3), context=9, context_kernel_size=5),
    "pixel": lambda: _network((4, 1, 1), (6, 3), kernel_size=5),
    "pixels": lambda: _network((3, 3, 2), (6, 4), group=3),
    "groups": lambda: _network((5, 2, 2), (2, 4), context=4, group=(1, 2, 2) * 4),
    "one": lambda: _network((1, 1, 1), (3,), context=1),
}
networks = pytest.mark.parametrize("name", NETWORKS)


def _by_definition(network: MaskedConvolution, z: Tensor, context: Tensor | None) -> Tensor:
    """The parameters of one event, every weight by itself."""
    plan, layout = network._plan, network._plan.layout
    pixels = list(product(range(plan.height), range(plan.width)))
    window = list(product(range(-plan.radius, plan.radius + 1), repeat=2))
    phi = ACTIVATIONS[layout.activation].function

    def product_of(block: int, values: dict[tuple[int, int], Tensor]) -> dict[Any, Tensor]:
        layer, source = layout.blocks[block]
        matrix = network.weights[block].unflatten(1, (-1, len(layout.degrees[source])))
        rows = {}
        for row, column in pixels:
            total = torch.zeros(len(layout.degrees[layer]), dtype=z.dtype)
            for tap, (y, x) in enumerate(window):
                other = (row + y, column + x)
                if other not in values or (y, x) > (0, 0):
                    continue
                for u, v in product(range(len(total)), range(matrix.shape[2])):
                    hidden_from = layout.degrees[layer][u] < layout.degrees[source][v]
                    if (y, x) == (0, 0) and hidden_from:
                        continue
                    total[u] += matrix[u, tap, v] * values[other][v]
            rows[row, column] = total
        return rows

    maps = dict(zip(pixels, z.split(layout.features), strict=True))
    rows = product_of(0, maps)
    for pixel in pixels:
        rows[pixel] = rows[pixel] + network.biases[0]
    if context is not None and network.context_weight is not None:
        c = context.reshape(-1, plan.height, plan.width)
        both = torch.cat([c, torch.rot90(c, 2, (1, 2))])
        reach = network._context_kernel_size // 2
        around = list(product(range(-reach, reach + 1), repeat=2))
        weight = network.context_weight.unflatten(1, (len(both), len(around)))
        for row, column in pixels:
            for tap, (y, x) in enumerate(around):
                if (row + y, column + x) in maps:
                    rows[row, column] += weight[:, :, tap] @ both[:, row + y, column + x]
    for block, bias in enumerate(list(network.biases)[1:], start=1):
        rows = product_of(block, {pixel: phi(values) for pixel, values in rows.items()})
        rows = {pixel: values + bias for pixel, values in rows.items()}
    if layout.direct:
        direct = product_of(len(network.biases), maps)
        rows = {pixel: values + direct[pixel] for pixel, values in rows.items()}
    return torch.cat([rows[pixel] for pixel in pixels]).reshape(-1, network.outputs)


@networks
def test_forward_is_the_masked_network(name: str) -> None:
    network = NETWORKS[name]()
    z, context = randn(2, network.features), context_for(network, 2)
    with torch.no_grad():
        params = network(z, context)
        for i in range(2):
            one = None if context is None else context[i]
            assert_close(params[i], _by_definition(network, z[i], one), 1e-12)


def test_degrees_at_a_pixel() -> None:
    layout = _network((3, 2, 2), (6, 4, 2))._plan.layout
    assert layout.degrees[:4] == [[1, 2, 3], [0, 0, 1, 1, 2, 2], [0, 0, 1, 2], [0, 1]]
    assert layout.degrees[4] == [0, 0, 1, 1, 2, 2]
    assert layout.direct
    assert not _network((3, 2, 2), (6, 4))._plan.layout.direct
    # With one channel nothing is seen at the centre of the first layer.
    assert not _network((1, 2, 2))._plan.mask(1, 0)[:, -1].any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 1), (2, 3, 4), (1, 4, 2)], ids=str)
def test_raster_order_takes_pixels_one_by_one(shape: Shape) -> None:
    maps = torch.arange(math.prod(shape)).reshape(shape)
    taken = [maps[:, row, column] for row in range(shape[1]) for column in range(shape[2])]
    assert torch.equal(maps.flatten()[raster_order(shape)], torch.cat(taken))


def test_order_of_a_transform_takes_flattened_maps_forwards_and_backwards() -> None:
    shape = (2, 3, 4)
    network = _network(shape, context=12)
    maps, context = randn(5, *shape), randn(5, 12, seed=1)
    vectors, ladj = Autoregressive(network)(maps.movedim(1, -1).flatten(1), context)
    expected = vectors.reshape(5, 3, 4, 2).movedim(-1, 1)
    flat, other = Autoregressive(network, order=raster_order(shape))(maps.flatten(1), context)
    assert_close((flat.reshape(5, *shape), other), (expected, ladj), 1e-12)
    # Backwards is the same with the map turned, and its channels reversed.
    backwards = Autoregressive(network, order=raster_order(shape).flip(0))
    flat, other = backwards(maps.flip(1, 2, 3).flatten(1), context)
    assert_close((flat.reshape(5, *shape).flip(1, 2, 3), other), (expected, ladj), 1e-12)


def _jacobian(network: MaskedConvolution) -> Tensor:
    """Return whether features depend on features, [pixels, channels, pixels, channels]."""
    context = context_for(network)
    jacobian = torch.func.jacrev(lambda z: network(z, context))(randn(network.features))
    channels = network._plan.layout.features
    seen = (jacobian != 0).all(1)
    assert torch.equal(seen, (jacobian != 0).any(1))
    return seen.unflatten(1, (-1, channels)).unflatten(0, (-1, channels))


SEEN = [
    ((1, 3, 4), (4,), 3),
    ((1, 4, 6), (3, 3), 3),
    ((2, 3, 5), (4, 3, 4), 3),
    ((3, 3, 4), (2, 1), 3),
    ((2, 4, 3), (), 3),
    ((1, 5, 7), (3,), 5),
    ((2, 4, 6), (4, 3), 5),
    ((2, 2, 7), (3,), 7),
    ((3, 2, 2), (4, 4), 1),
    ((2, 1, 6), (4, 4), 3),
    ((2, 6, 1), (4, 4), 3),
]


@pytest.mark.parametrize(("shape", "hidden", "kernel"), SEEN, ids=str)
def test_what_is_seen(shape: Shape, hidden: tuple[int, ...], kernel: int) -> None:
    """By brute force what the docstring says, entry by entry."""
    channels, height, width = shape
    seen = _jacobian(_network(shape, hidden, kernel_size=kernel))
    r, n = kernel // 2, len(hidden) + 1
    pixels = list(product(range(height), range(width)))
    for (p, (row, column)), (q, (y, x)) in product(enumerate(pixels), repeat=2):
        up, left = row - y, column - x
        reached = q < p and up <= r * n and left <= r * n and -left <= r * min(up, n)
        for own, other in product(range(channels), repeat=2):
            assert seen[p, own, q, other] == (other < own if p == q else reached)


def test_blind_spot_stays_however_deep_the_network() -> None:
    seen = _jacobian(_network((1, 2, 4), (2,) * 7))[:, 0, :, 0].int()
    # The row below sees one pixel to the right of what is above each of its own.
    assert seen[4:, :4].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("shape", "hidden", "kernel"),
    [((2, 3, 3), (4,), 5), ((1, 4, 2), (3, 3), 3), ((1, 2, 4), (), 7)],
    ids=str,
)
def test_everything_earlier_is_seen_by_large_kernels(
    shape: Shape, hidden: tuple[int, ...], kernel: int
) -> None:
    network = _network(shape, hidden, kernel_size=kernel)
    jacobian = torch.func.jacrev(network)(randn(network.features))
    assert_strictly_causal(jacobian)


def test_first_pixel_sees_the_context_around_it_and_at_the_opposite_end() -> None:
    network = _network((1, 4, 5), context=20)
    z, context = randn(20), randn(20, seed=2)
    jacobian = torch.func.jacrev(network, 1)(z, context)[0]
    seen = (jacobian != 0).all(0).reshape(4, 5).int().tolist()
    assert seen == [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]


@networks
@pytest.mark.parametrize("of", ["value", "ladj", "both"])
def test_gradients_of_the_cached_inverse_are_those_of_the_passes(name: str, of: str) -> None:
    found = []
    for inverse in ("cached", "passes"):
        network = NETWORKS[name]()
        transform = Autoregressive(network, inverse=inverse)
        inputs = [randn(2, 3, network.features).requires_grad_()]
        if network.context:
            inputs.append(randn(3, network.context, seed=2).requires_grad_())
        z, ladj = transform.inverse(*inputs)
        everything = [*inputs, *transform.parameters()]
        found.append([z, ladj, *gradients(z, ladj, everything, of)])
    assert_close(found[0], found[1], 1e-9)
    # Agreement on nothing would be none.
    assert any(gradient.abs().max() > 1e-6 for gradient in found[1][2:])


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_gradients_of_an_ensemble_under_vmap(direction: str) -> None:
    networks = [_network((2, 2, 3), (4,), context=6, generator=generator(i)) for i in range(3)]
    modules = [Both(Autoregressive(network)) for network in networks]
    x, context = randn(3, 5, 12), randn(3, 5, 6, seed=2)

    def loss(parameters: dict[str, Tensor], x: Tensor, context: Tensor) -> Tensor:
        value, ladj = functional_call(modules[0], parameters, (direction, x, context))
        return value.sin().sum() + ladj.square().sum()

    parameters, _ = stack_module_state(modules)
    found = vmap(grad(loss, (0, 1, 2)))(parameters, x, context)
    for i, module in enumerate(modules):
        expected = grad(loss, (0, 1, 2))(dict(module.named_parameters()), x[i], context[i])
        assert_close([found[0][name][i] for name in expected[0]], [*expected[0].values()])
        assert_close((found[1][i], found[2][i]), expected[1:])


BATCH = 8


def _visible(network: MaskedConvolution) -> int:
    """Return how many pairs of a weight and a pixel are neither masked nor beyond the border."""
    plan = network._plan
    total = 0
    for block in plan.layout.blocks:
        matrix = plan.mask(*block)
        taps = matrix.reshape(len(matrix), len(plan.earlier) + 1, -1).sum((0, 2))
        for pixel in range(plan.height * plan.width):
            total += int(taps[list(plan.inside(pixel))].sum() + taps[-1])
    return total


def _sweep(network: MaskedConvolution, z: Tensor, context: Tensor | None) -> Tensor:
    decoder = network.plan.decoder(*network.pack((BATCH,), context))
    for group, values in enumerate(z.t().split(network.groups)):
        decoder.parameters(group)
        decoder.append(group, values)
    return decoder.params.t().unflatten(1, (network.features, network.outputs))


@networks
def test_sweep_multiplies_what_is_visible_and_nothing_twice(name: str) -> None:
    network = NETWORKS[name]()
    z, context = randn(BATCH, network.features), context_for(network, BATCH)
    params, count = counted(lambda: _sweep(network, z, context))
    assert_close(params, network(z, context), 1e-12)
    assert count == BATCH * _visible(network)


@pytest.mark.parametrize("shape", [(2, 6, 6), (4, 5, 3)], ids=str)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_both_modes_and_their_gradients_do_the_work_of_one_pass(shape: Shape, kernel: int) -> None:
    network = _network(shape, (16, 8), kernel_size=kernel)
    z = randn(BATCH, network.features).requires_grad_()
    visible = BATCH * _visible(network)
    units = [shape[0], 16, 8, 2 * shape[0]]
    pairs = sum(a * b for a, b in pairwise(units)) * shape[1] * shape[2]
    dense = BATCH * pairs * kernel**2
    inputs = [z, *network.parameters()]
    with FlopCounterMode(display=False) as parallel:
        params = network(z)
    # A kernel's rows below its centre are left out: nearly half of it.
    above = kernel // 2 + 1
    assert 2 * visible <= parallel.get_total_flops() == 2 * dense * above // kernel
    cotangents = randn(*params.shape, seed=3)
    expected = torch.autograd.grad(params, inputs, cotangents)
    with MultiplyAdds() as sweep:
        found = torch.autograd.grad(_sweep(network, z, None), inputs, cotangents)
    assert_close(found, expected, 1e-10)
    assert 2 * visible < sweep.count <= 3 * visible


def test_starts_near_the_start_on_a_large_map() -> None:
    network = MaskedConvolution(192, (0.3, -0.2), context=128, shape=(3, 8, 8))
    params = network(randn(4, 192).float(), randn(4, 128).float())
    assert (params - torch.tensor([0.3, -0.2])).abs().max() < 0.3


def test_same_generator_same_weights_and_torchs_own_is_untouched() -> None:
    state = torch.get_rng_state()
    first, second, other = (
        MaskedConvolution(8, (0.0, 0.0), context=4, shape=(2, 2, 2), generator=generator(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert not torch.equal(first.weights[0], other.weights[0])


def test_flow_by_name_turns_its_maps_every_other_time() -> None:
    options = {"conditioner": "convolution", "shape": (2, 3, 2), "kernel_size": 5}
    flow = perturbed(IAF(12, 12, 2, (6,), **options, generator=generator(1)), scale=0.3)
    first, second = (part for part in flow.modules() if isinstance(part, Autoregressive))
    z, context = randn(4, 12), randn(4, 12, seed=1)
    middle, _ = first(z, context)
    x, _ = Autoregressive(second.conditioner)(middle.flip(-1), context)
    assert_close(flow.transform(z, context)[0], x.flip(-1), 1e-12)
    assert_close(flow.transform.inverse(x.flip(-1), context)[0], z, 1e-9)


def test_wrong_sizes_are_refused() -> None:
    network = MaskedConvolution(4, (0.0,), context=4, shape=(1, 2, 2))
    with pytest.raises(ValueError, match=r"^z must have shape \(\*batch, 4\).*got \(5, 3\)"):
        network(torch.zeros(5, 3), torch.zeros(5, 4))
    with pytest.raises(ValueError, match=r"^context must have shape \(\*batch, 4\).*got \(5, 8\)"):
        network(torch.zeros(5, 4), torch.zeros(5, 8))
