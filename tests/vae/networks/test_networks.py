"""Encoders and decoders by name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from invflow.vae import networks
from invflow.vae.networks import NETWORKS, starting
from invflow.vae.networks.maps import output_padding, sizes
from invflow.vae.networks.perceptron import perceptron
from invflow.vae.networks.weightnorm import WeightNorm
from tests.helpers import assert_close, perturbed, randn

SHAPES = [(1, 28, 28), (1, 8, 8), (1, 28, 20), (3, 7, 5), (2, 1, 1), (1, 2, 9)]
SMALL = {"mlp": (7, 5), "gated": (4, 3, 4, 5), "resnet": (3, 4, 2)}
SMALL_SHAPES = [(1, 8, 8), (3, 7, 5), (2, 1, 1), (1, 2, 9)]


def _pair(
    name: str, shape: tuple[int, int, int], hidden: Sequence[int] | None = None
) -> tuple[nn.Module, nn.Module]:
    """Return an encoder with 6 outputs, and a decoder of 4 latents to 2 outputs per pixel."""
    return (
        networks.encoder(name, shape, 6, hidden),
        networks.decoder(name, shape, outputs=2, latents=4, context=6, hidden_features=hidden),
    )


def _images(count: int, shape: Sequence[int], seed: int = 0) -> Tensor:
    return torch.tanh(randn(count, shape[0] * shape[1] * shape[2], seed=seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_shapes(name: str, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    encoder, decoder = _pair(name, shape)
    context = encoder.to(dtype)(_images(3, shape).to(dtype))
    pixels = decoder.to(dtype)(randn(3, 4).to(dtype))
    assert context.shape == (3, 6)
    assert pixels.shape == (3, shape[0] * shape[1] * shape[2], 2)
    assert context.dtype == pixels.dtype == dtype


@pytest.mark.parametrize("hidden", [(3,), (3, 2), (2, 3, 4, 3, 2, 3)])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_number_of_layers(name: str, hidden: tuple[int, ...]) -> None:
    encoder, decoder = _pair(name, (3, 7, 10), hidden)
    assert encoder(torch.randn(2, 210)).shape == (2, 6)
    assert decoder(torch.randn(2, 4)).shape == (2, 210, 2)


@pytest.mark.parametrize("shape", SMALL_SHAPES, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_output_depends_on_every_input(name: str, shape: tuple[int, int, int]) -> None:
    encoder, decoder = (perturbed(part) for part in _pair(name, shape, SMALL[name]))
    for network, inputs in ((encoder, _images(1, shape)[0]), (decoder, randn(4))):
        slopes = torch.func.jacrev(lambda x, f=network: f(x.unsqueeze(0))[0])(inputs)
        assert (slopes != 0).all()


@pytest.mark.parametrize("name", ["gated", "resnet"])
def test_pixels_are_flattened_channel_by_channel(name: str) -> None:
    """Without the last layer's weights, each pixel gives the bias of its channel and output."""
    decoder = networks.decoder(
        name, (3, 2, 5), outputs=2, latents=4, context=6, hidden_features=(3,)
    )
    last = decoder[-2]
    with torch.no_grad():
        (last.g if isinstance(last, WeightNorm) else last.weight).zero_()
        last.bias.copy_(torch.arange(6.0))
    pixels = decoder(torch.randn(1, 4)).reshape(3, 2, 5, 2)
    for channel in range(3):
        for output in range(2):
            assert (pixels[channel, :, :, output] == 2 * channel + output).all()


@pytest.mark.parametrize("name", ["gated", "resnet"])
def test_decoders_are_local(name: str) -> None:
    """The last layers reach a pixel's neighbours only, at the place in the image where they are."""
    decoder = perturbed(networks.decoder(name, (1, 20, 14), 1, 4, 6, SMALL[name]))
    found: list[Tensor] = []
    before = decoder[-2].register_forward_pre_hook(lambda _, x: found.append(x[0]))
    decoder(randn(1, 4))
    before.remove()
    (maps,) = found
    assert maps.shape[2:] == (20, 14)
    slopes = torch.func.jacrev(lambda h: decoder[-1](decoder[-2](h))[0, 5 * 14 + 8, 0])(maps)
    rows, columns = slopes[0].abs().sum(0).nonzero().unbind(1)
    assert (rows - 5).abs().max() <= 1
    assert (columns - 8).abs().max() <= 1


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_all_parameters(name: str) -> None:
    encoder, decoder = (perturbed(part) for part in _pair(name, (2, 7, 5), SMALL[name]))
    encoder(_images(3, (2, 7, 5))).square().sum().backward()
    decoder(randn(3, 4)).square().sum().backward()
    for network in (encoder, decoder):
        for parameter in network.parameters():
            assert parameter.grad is not None
            assert (parameter.grad != 0).any()


def test_perceptrons_are_those_of_plain_layers() -> None:
    encoder, decoder = _pair("mlp", (1, 2, 3), (5, 7))
    first, second = encoder[::2], decoder[:5:2]
    assert [layer.weight.shape for layer in first] == [(5, 6), (7, 5), (6, 7)]
    assert [layer.weight.shape for layer in second] == [(7, 4), (5, 7), (12, 5)]
    x, z = torch.randn(8, 6), torch.randn(8, 4)
    elu = nn.functional.elu
    assert torch.equal(encoder(x), first[2](elu(first[1](elu(first[0](x))))))
    pixels = second[2](elu(second[1](elu(second[0](z)))))
    assert torch.equal(decoder(z), pixels.reshape(8, 6, 2))


def test_contexts_of_perceptrons_start_with_unit_variance_and_outputs_small() -> None:
    torch.manual_seed(3)
    encoder, decoder = _pair("mlp", (1, 20, 20), (300, 200))
    with torch.no_grad():
        contexts, outputs = encoder(torch.randn(500, 400)), decoder(torch.randn(500, 4))
    assert 0.5 < contexts.std() < 1.5
    assert 0.05 < outputs.std() < 0.15


def test_perceptron_without_hidden_layers_is_linear() -> None:
    assert [type(layer) for layer in perceptron((3, 2))] == [nn.Linear]


def test_a_gate_multiplies() -> None:
    encoder = perturbed(networks.encoder("gated", (1, 5, 4), 6, (3,)))
    x = _images(2, (1, 5, 4))
    maps = encoder[1](x.reshape(2, 1, 5, 4))
    hidden = maps[:, :3] * torch.sigmoid(maps[:, 3:])
    full = hidden.flatten(1) @ encoder[4].weight.T + encoder[4].bias
    assert_close(encoder(x), full[:, :6] * torch.sigmoid(full[:, 6:]))


def test_gates_keep_the_variance_at_the_start() -> None:
    """Over networks, since weights of one have a scale of their own."""
    encoder = [networks.encoder("gated", (3, 20, 20), 40, (16,) * 4) for _ in range(3)]
    decoder = [networks.decoder("gated", (3, 20, 20), 5, 30, 9, (16,) * 4) for _ in range(3)]
    x, z = torch.randn(40, 1200), torch.randn(40, 30)
    context = torch.stack([network(x) for network in encoder])
    pixels = torch.stack([network(z) for network in decoder])
    assert 0.5 < context.square().mean().sqrt() < 1.5
    assert 0.05 < (pixels - pixels.mean(1, keepdim=True)).square().mean().sqrt() < 0.15


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _convolution(inputs: int, outputs: int) -> int:
    return 9 * inputs * outputs + 2 * outputs


def _full(inputs: int, outputs: int) -> int:
    return inputs * outputs + 2 * outputs


def _strided(inputs: int, outputs: int) -> int:
    return 2 * _convolution(inputs, outputs) + _convolution(outputs, outputs)


def test_parameters_of_the_iaf_papers_network() -> None:
    """Counted by hand; 28 pixels go to 14, 7, 4, and every output has a g and a bias."""
    encoder = networks.encoder("resnet", (1, 28, 28), context=450)
    blocks = _strided(1, 16) + 2 * _convolution(16, 16) + _strided(16, 32)
    blocks += 2 * _convolution(32, 32) + _strided(32, 32)
    assert _count(encoder) == blocks + _full(32 * 4 * 4, 450)
    decoder = networks.decoder("resnet", (1, 28, 28), outputs=1, latents=32, context=450)
    blocks = _strided(32, 32) + 2 * _convolution(32, 32) + _strided(32, 32)
    blocks += 2 * _convolution(32, 32) + _strided(32, 16)
    full = _full(32, 450) + _full(450, 32 * 4 * 4)
    assert _count(decoder) == full + blocks + _convolution(16, 1)


def test_parameters_of_the_sylvester_papers_encoder() -> None:
    """Counted by hand; 28 pixels go to 14 and 7, and every map has a gate."""
    encoder = networks.encoder("gated", (1, 28, 28), context=256)
    maps = [1, 32, 32, 64, 64, 64]
    convolutions = sum(2 * (25 * before + 1) * after for before, after in pairwise(maps))
    assert _count(encoder) == convolutions + 2 * (64 * 7 * 7 + 1) * 256


def _sizes_of_layers(network: nn.Module, x: Tensor, kind: type[nn.Module]) -> list[torch.Size]:
    """Return the sizes of maps that the layers of a kind read, and that of the last one's maps."""
    found: list[torch.Size] = []
    hooks = [
        layer.register_forward_hook(lambda _, x, y: found.extend((x[0].shape[1:], y.shape[1:])))
        for layer in network.modules()
        if isinstance(layer, kind)
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return [*found[::2], found[-1]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_decoder_undoes_sizes(shape: tuple[int, int, int]) -> None:
    hidden = SMALL["gated"]
    encoder, decoder = (part.double() for part in _pair("gated", shape, hidden))
    down = _sizes_of_layers(encoder, _images(1, shape), nn.Conv2d)
    up = _sizes_of_layers(decoder, randn(1, 4), nn.ConvTranspose2d)
    assert [size[1:] for size in up] == [size[1:] for size in down][::-1]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [3, 5])
def test_sizes_are_those_of_convolutions(kernel: int, stride: int) -> None:
    for height in range(1, 9):
        size = (height, 9 - height)
        (_, after) = sizes((1, *size), [stride])
        image = torch.zeros(1, 1, *size)
        maps = nn.Conv2d(1, 1, kernel, stride, kernel // 2)(image)
        assert maps.shape[2:] == after
        padding = output_padding(size, stride)
        back = nn.ConvTranspose2d(1, 1, kernel, stride, kernel // 2, padding)(maps)
        assert back.shape == image.shape


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5)], ids=str)
def test_start_of_every_layer(shape: tuple[int, int, int]) -> None:
    encoder, decoder = (perturbed(part) for part in _pair("resnet", shape))
    for network, x in ((encoder, _images(60, shape)), (decoder, randn(60, 4))):
        with starting(network):
            network(x)
        found: list[tuple[Tensor, Tensor, float]] = []

        def look(
            layer: WeightNorm,
            _: object,
            y: Tensor,
            found: list[tuple[Tensor, Tensor, float]] = found,
        ) -> None:
            std, mean = torch.std_mean(y.movedim(1, -1).flatten(0, -2), 0, correction=0)
            found.append((mean, std, layer.scale))

        for layer in network.modules():
            if isinstance(layer, WeightNorm):
                layer.register_forward_hook(look)
        network(x)
        assert len(found) == sum(isinstance(layer, WeightNorm) for layer in network.modules())
        for mean, std, scale in found:
            assert_close(mean, torch.zeros_like(mean))
            assert_close(std, torch.full_like(std, scale))


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.3])
def test_start_on_constant_images(value: float) -> None:
    encoder = networks.encoder("resnet", (1, 8, 8), 6)
    images = torch.full((5, 64), value)
    with starting(encoder):
        context = encoder(images)
    assert torch.isfinite(context).all()
    for parameter in encoder.parameters():
        assert torch.isfinite(parameter).all()
        assert parameter.abs().max() < 1e4


@pytest.mark.parametrize("name", NETWORKS)
def test_pixels_start_small(name: str) -> None:
    decoder = networks.decoder(name, (1, 28, 28), outputs=2, latents=32, context=450)
    z = torch.randn(50, 32)
    with starting(decoder):
        decoder(z)
    assert decoder(z).square().mean().sqrt() < 0.3


@pytest.mark.parametrize("name", NETWORKS)
def test_saving_keeps_the_start(name: str) -> None:
    encoder = networks.encoder(name, (1, 8, 8), 6)
    x = torch.rand(20, 64) * 2 - 1
    with starting(encoder):
        encoder(x)
    saved = save(encoder.state_dict())
    other = networks.encoder(name, (1, 8, 8), 6)
    other.load_state_dict(load(saved))
    assert torch.equal(other(x), encoder(x))
    assert not list(encoder.buffers())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_seed_gives_the_same_network(name: str) -> None:
    def build() -> nn.Module:
        torch.manual_seed(5)
        network = networks.decoder(name, (1, 7, 5), 1, 4, 6)
        with starting(network):
            network(randn(9, 4, dtype=torch.float32))
        return network

    first, second = build().state_dict(), build().state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_compiled() -> None:
    encoder = networks.encoder("resnet", (1, 7, 5), 6, (3, 4))
    x = torch.rand(8, 35) * 2 - 1
    with starting(encoder):
        encoder(x)
    compiled = torch.compile(encoder, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), encoder(x), tolerance=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "vgg"}, ValueError, "network must be one of 'gated', 'mlp', 'resnet', got 'vgg'"),
        ({"shape": (28, 28)}, ValueError, r"shape must be \(channels, height, width\), got"),
        ({"shape": (1, 0, 28)}, ValueError, r"shape\[1\] must be at least 1, got 0"),
        ({"shape": 28}, TypeError, "shape must be a sequence of integers, got 28"),
        ({"context": 0}, ValueError, "context must be at least 1, got 0"),
        ({"context": 4.0}, TypeError, "context must be an integer"),
        (
            {"hidden_features": (3, 0)},
            ValueError,
            r"hidden_features\[1\] must be at least 1, got 0",
        ),
        ({"hidden_features": 3}, TypeError, "hidden_features must be a sequence of integers"),
        (
            {"name": "resnet", "hidden_features": ()},
            ValueError,
            "hidden_features must hold at least one width",
        ),
        (
            {"name": "gated", "hidden_features": ()},
            ValueError,
            "hidden_features must hold at least one width",
        ),
        ({"outputs": 0}, ValueError, "outputs must be at least 1, got 0"),
        ({"latents": 1.5}, TypeError, "latents must be an integer, got 1.5"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    given = {"name": "mlp", "shape": (1, 5, 5), "context": 3, "hidden_features": (4,), **arguments}
    with pytest.raises(error, match=message):
        networks.decoder(**{"outputs": 1, "latents": 2, **given})  # type: ignore[arg-type]
    if not {"outputs", "latents"} & set(arguments):
        with pytest.raises(error, match=message):
            networks.encoder(**given)  # type: ignore[arg-type]
