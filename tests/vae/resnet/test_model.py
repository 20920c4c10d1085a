"""The ResNet VAE against its formulas written out by hand, and against quadrature."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from invflow.vae import ResNetVAE
from invflow.vae.build import RESNET_POSTERIORS
from invflow.vae.networks import starting
from invflow.vae.networks.weightnorm import WeightNorm
from invflow.vae.resnet import INFERENCES
from tests.helpers import assert_close, fast, generator, perturbed

FLOWS: dict[str, dict[str, Any]] = {
    "diagonal": {"flow_transforms": 0},
    "linear": {"flow_hidden_features": ()},
    "iaf": {"flow_hidden_features": (4,), "flow_transforms": 2},
    "location": {"flow_hidden_features": (4, 4), "flow_map": "additive"},
}


def _model(shape: tuple[int, int, int] = (1, 7, 5), flow: str = "iaf", **options: Any) -> ResNetVAE:
    torch.manual_seed(0)
    settings = {"depths": (2,), "feature_maps": 3, "latent_maps": 2, **FLOWS[flow], **options}
    return perturbed(ResNetVAE(shape, 17, **settings), scale=0.5)


def _images(model: ResNetVAE, count: int) -> Tensor:
    levels = torch.randint(17, (count, model.pixels), generator=generator(3))
    return model.observe(levels, generator(4))


def _convolved(layer: Any, x: Tensor) -> Tensor:
    """Return a weight-normalised convolution by its definition."""
    lengths = layer.v.square().sum((1, 2, 3), keepdim=True).sqrt()
    weight = layer.v / lengths * layer.g[:, None, None, None]
    return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)


def _nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps at another size, each entry that of the old ones in which its corner lies."""
    rows, columns = (
        torch.tensor([i * old // new for i in range(new)])
        for old, new in zip(maps.shape[2:], size, strict=True)
    )
    return maps[:, :, rows][:, :, :, columns]


def _by_hand(model: ResNetVAE, x: Tensor, noise: list[Tensor]) -> tuple[list[Any], Tensor]:
    """Return (z, log q / p of each entry, normals), from the top down, and the parameters.

    `noise` is that of the layers from the top down.
    """
    top = len(model.layers) - 1
    sizes = [model.sizes[0], *model.sizes]

    def normal(maps: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = maps[:, : model.latent_maps], maps[:, model.latent_maps :]
        return mean, (6 * torch.tanh(raw / 6)).exp()

    def density(z: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
        return torch.distributions.Normal(mean, sd).log_prob(z)

    def step(layer: Any, maps: Tensor, context: Any, e: Tensor) -> tuple[Any, Tensor, Tensor]:
        mean, sd = normal(maps)
        z = mean + sd * e
        log_q = density(z, mean, sd)
        for i, network in enumerate(layer.posterior.steps):
            turned = z.flip(2, 3).flip(1) if i % 2 else z
            flat = turned.permute(0, 2, 3, 1).flatten(1)
            params = network(flat, context.flatten(1)).reshape(len(z), *z.shape[2:], -1, 2)
            params = params.permute(4, 0, 3, 1, 2)
            log_scale = 5 * torch.tanh(params[1] / 5)
            turned = params[0] + log_scale.exp() * turned
            z = turned.flip(2, 3).flip(1) if i % 2 else turned
            log_q = log_q - (log_scale.flip(2, 3).flip(1) if i % 2 else log_scale)
        return (mean, sd), z, log_q

    def seen(layer: Any, h: Tensor) -> tuple[Tensor, Any]:
        a = F.elu(h)
        context = None if layer.up_context is None else _convolved(layer.up_context, a)
        return _convolved(layer.up_normal, a), context

    bottom_up = model.layers[0].upwards
    found: dict[int, Any] = {}
    h = _convolved(model.stem, x.reshape(-1, *model.shape) * (2 / 16) - 1)
    evidence = []
    for i, layer in enumerate(model.layers):
        evidence.append(seen(layer, h))
        if bottom_up:
            found[i] = step(layer, *evidence[i], noise[top - i])
        if i < top:
            inside = F.elu(_convolved(layer.up_in, F.elu(h)))
            if bottom_up:
                inside = torch.cat([found[i][1], inside], 1)
            h = _nearest(h, model.sizes[i]) + 0.1 * _convolved(layer.up_out, inside)

    h = model.top[None, :, None, None].expand(len(x), -1, *model.sizes[-1])
    results = []
    for i, layer in reversed(list(enumerate(model.layers))):
        a = F.elu(h)
        if not bottom_up:
            maps, context = evidence[i]
            if context is not None:
                context = context + _convolved(layer.down_context, a)
            found[i] = step(layer, maps + _convolved(layer.down_normal, a), context, noise[top - i])
        q, z, log_q = found[i]
        p = normal(_convolved(layer.prior, a))
        results.append((z, log_q - density(z, *p), q, p))
        inside = torch.cat([z, F.elu(_convolved(layer.down_in, a))], 1)
        below = sizes[i]
        h = _nearest(h, below) + 0.1 * _convolved(layer.down_out, _nearest(inside, below))
    lengths = model.head.v.square().sum((0, 2, 3), keepdim=True).sqrt()
    weight = model.head.v / lengths * model.head.g[None, :, None, None]
    extra = [1 - size % 2 for size in model.shape[1:]]
    maps = F.conv_transpose2d(F.elu(h), weight, model.head.bias, 2, 2, extra)
    outputs = model.likelihood.outputs
    channels = [maps[:, c * outputs : (c + 1) * outputs] for c in range(model.shape[0])]
    return results, torch.cat([c.flatten(2).mT for c in channels], 1)


@pytest.mark.parametrize(
    ("shape", "depths"),
    [
        ((1, 7, 5), (2,)),
        ((3, 4, 5), (2,)),
        ((1, 1, 1), (2,)),
        # Only below another layer does one of another resolution pass features up.
        ((1, 7, 5), (1, 1)),
        ((2, 9, 13), (1, 2)),
    ],
)
@pytest.mark.parametrize("flow", ["diagonal", "linear", "iaf"])
@pytest.mark.parametrize("inference", INFERENCES)
def test_agrees_with_the_formulas(
    inference: str, flow: str, shape: tuple[int, int, int], depths: tuple[int, ...]
) -> None:
    model = _model(shape, flow, inference=inference, likelihood="logistic", depths=depths)
    x = _images(model, 4)
    source = generator(9)
    noise = [
        torch.randn(4, 2, *size, generator=source, dtype=x.dtype) for size in model.sizes[::-1]
    ]
    expected, params = _by_hand(model, x, noise)
    # Several draws of each image are the images again and again.
    z, log_w = model.draw(x[:2], 2, generator(9))
    again, _ = _by_hand(model, x[:2].repeat(2, 1), noise)
    assert_close(z.flatten(0, 1), torch.cat([each[0].flatten(1) for each in again], 1))
    z, log_w = model.draw(x, 1, generator(9))
    assert_close(z[0], torch.cat([each[0].flatten(1) for each in expected], 1))
    assert_close(model.decode(z[0]), params)
    ratios = sum(each[1].sum((1, 2, 3)) for each in expected)
    fit = model.likelihood.log_prob(x, params)
    assert_close(log_w[0], fit - ratios)
    elbo = model.elbo(x, generator(9))
    assert_close(elbo.fit, fit)
    if flow == "diagonal" and inference == "top-down":
        kls = [
            torch.distributions.kl_divergence(
                torch.distributions.Normal(*q), torch.distributions.Normal(*p)
            )
            for _, _, q, p in expected
        ]
    else:
        kls = [ratio for _, ratio, _, _ in expected]
    assert_close(elbo.kls, torch.cat([kl.sum((2, 3)) for kl in kls], 1), tolerance=1e-8)
    assert_close(elbo.bound, elbo.fit - elbo.kls.sum(1))


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("inference", INFERENCES)
@torch.no_grad()
def test_likelihood_against_quadrature(inference: str, flow: str) -> None:
    """A model of 1 x 2 images with two layers of one latent: all of p(z) on a grid."""
    model = _model((1, 1, 2), flow, inference=inference, latent_maps=1)
    assert model.latents == 2
    x = _images(model, 3)
    e = torch.linspace(-7.5, 7.5, 201, dtype=torch.float64)
    top, low = model.layers[1], model.layers[0]
    mean, sd = _prior(top, model.top[None, :, None, None])
    area = math.log(15 / 200)
    # Each latent on a grid of its own prior's standard deviations.
    high = mean + sd * e[:, None, None, None]
    below = top.generate(model.top[None, :, None, None].expand(len(high), -1, 1, 1), high)
    means, sds = _prior(low, below)
    grid = means + sds * e[None, :, None, None]
    z = torch.stack([high.reshape(-1, 1).expand(-1, grid.shape[1]), grid.flatten(1)], -1)
    log_p = -0.5 * (e[:, None].square() + e.square()) - math.log(2 * math.pi) + 2 * area
    assert_close(float(log_p.logsumexp((0, 1))), 0.0, tolerance=1e-6)
    fit = model.likelihood.log_prob(x[:, None, None], model.decode(z))
    exact = (fit + log_p).flatten(1).logsumexp(1)
    found = model.log_likelihood(x, 8000, generator(1))
    assert_close(found, exact, tolerance=0.05)
    bound = model.elbo(x.expand(2000, 3, 2), generator(2)).bound.mean(0)
    assert (bound < exact).all()
    few = model.importance_bound(x.repeat(2000, 1), 5, generator(3)).reshape(-1, 3).mean(0)
    assert (bound < few).all()
    assert (few < exact).all()


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("inference", INFERENCES)
@torch.no_grad()
def test_the_bound_is_the_mean_log_weight(inference: str, flow: str) -> None:
    """Whatever is in closed form, the bound is E_q log p(x, z) / q(z|x)."""
    model = _model((1, 1, 2), flow, inference=inference, latent_maps=1)
    low, top = model.layers
    # On the way up the higher latent follows the lower one, and down its prior follows the higher.
    for convolution, length in [
        (low.up_out, 30),
        (top.up_normal, 2),
        (top.down_out, 30),
        (low.prior, 1),
    ]:
        if convolution is not None:
            convolution.v[:, :, 1, 1] *= 0.01
            convolution.v[0, 0, 1, 1] = 1.0
            convolution.g[0] = length
    x = _images(model, 1).expand(5000, -1)
    # The same draws, so that only what is in closed form differs.
    differences = model.elbo(x, generator(2)).bound - model.draw(x, 1, generator(2))[1][0]
    error = float(differences.std()) / math.sqrt(len(x))
    assert abs(float(differences.mean())) <= 4 * error


def _prior(layer: Any, h: Tensor) -> tuple[Tensor, Tensor]:
    normal = layer.normal(h)
    return normal.mean, normal.log_sd.exp()


@torch.no_grad()
def test_draws_of_the_prior_follow_it() -> None:
    """The latents of the top are normal; of those below, what is left is, whatever is above."""
    model = _model((1, 3, 3), latent_maps=1)
    z = model.draw_prior(20_000, generator(5))
    assert z.shape == (20_000, 8)
    h = model.top[None, :, None, None].expand(len(z), -1, 2, 2)
    away = []
    for layer, part in zip(reversed(model.layers), z.split(4, 1), strict=True):
        maps = part.reshape(-1, 1, 2, 2)
        mean, sd = _prior(layer, h)
        away.append(((maps - mean) / sd).flatten(1))
        h = layer.generate(h, maps)
    rest = torch.cat(away, 1)
    assert_close(rest.T.cov(), torch.eye(8).double(), tolerance=0.04)
    assert_close(rest.mean(0), torch.zeros(8).double(), tolerance=0.03)
    assert_close(rest.pow(4).mean(0), torch.full((8,), 3.0).double(), tolerance=0.2)


@pytest.mark.parametrize("inference", INFERENCES)
@pytest.mark.parametrize(
    ("shape", "options", "sizes"),
    [
        ((1, 7, 5), {"depths": (2, 1)}, [(4, 3), (4, 3), (2, 2)]),
        ((3, 28, 28), {"depths": (1, 1, 1)}, [(14, 14), (7, 7), (4, 4)]),
        ((1, 1, 1), {"depths": (1, 2)}, [(1, 1)] * 3),
        (
            (1, 1, 6),
            {"depths": (1, 1, 1), "feature_maps": 1, "latent_maps": 1},
            [(1, 3), (1, 2), (1, 1)],
        ),
        ((2, 4, 9), {"depths": (1,), "flow": "diagonal"}, [(2, 5)]),
    ],
)
def test_shapes(inference: str, shape: Any, options: Any, sizes: list[tuple[int, int]]) -> None:
    model = _model(shape, inference=inference, **options)
    assert model.sizes == sizes
    x = _images(model, 2)
    elbo = model.elbo(x.reshape(2, 1, -1), generator(0))
    assert elbo.fit.shape == elbo.bound.shape == (2, 1)
    assert elbo.kls.shape == (2, 1, model.latent_maps * len(sizes))
    z, log_w = model.draw(x, 3, generator(0))
    assert z.shape == (3, 2, model.latents)
    assert z.dtype == log_w.dtype == torch.float64
    params = model.decode(z)
    assert params.shape == (3, 2, model.pixels, model.likelihood.outputs)
    assert_close(params[2, 1], model.decode(z[2, 1]))
    images = model.sample(3, generator(1))
    assert images.shape == (3, model.pixels)
    assert images.min() >= 0
    assert images.max() <= 16
    # Each layer's latents count: those of the top first.
    for i in range(model.latents):
        moved = z[0].clone()
        moved[:, i] += 0.5
        assert (model.decode(moved) != params[0]).any()
    twin = ResNetVAE(
        shape,
        17,
        inference=inference,
        **{"depths": (2,), "feature_maps": 3, "latent_maps": 2}
        | FLOWS[options.get("flow", "iaf")]
        | {k: v for k, v in options.items() if k != "flow"},
    ).double()
    twin.load_state_dict(model.state_dict())
    assert_close(twin.elbo(x, generator(0)).bound, elbo.bound.squeeze(1), tolerance=0)


@pytest.mark.parametrize("posterior", RESNET_POSTERIORS)
def test_start_and_first_steps(posterior: str) -> None:
    """From the data-dependent start every parameter learns."""
    kind = RESNET_POSTERIORS[posterior]
    torch.manual_seed(0)
    model = ResNetVAE(
        (1, 6, 7),
        17,
        depths=(2, 1),
        feature_maps=4,
        latent_maps=2,
        inference=kind.inference,
        flow_transforms=2 if kind.flow else 0,
        flow_hidden_features=() if kind.linear else (5,),
        flow_map=kind.map,
    ).double()
    x = _images(model, 30)
    stds: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_hook(
            lambda layer, inputs, outputs, name=name: stds.__setitem__(
                name, outputs.movedim(1, 0).flatten(1).std(1, correction=0) / layer.scale
            )
        )
        for name, layer in model.named_modules()
        if isinstance(layer, WeightNorm)
    ]
    with starting(model):
        model.elbo(x, generator(1))
    stds.clear()
    model.elbo(x, generator(1))
    for hook in hooks:
        hook.remove()
    # The features at the top are zero at first, and with them what only they reach.
    top = len(model.layers) - 1
    still = {f"layers.{top}.{part}" for part in ("prior", "down_in", "down_normal", "down_context")}
    assert len(stds) == sum(isinstance(layer, WeightNorm) for layer in model.modules())
    for name, std in stds.items():
        assert_close(std, torch.zeros_like(std) if name in still else torch.ones_like(std), 1e-6)
    optimizer = torch.optim.Adamax(model.parameters(), 0.01)
    for step in range(2):
        optimizer.zero_grad()
        (-model.elbo(x, generator(step + 2)).bound.mean()).backward()
        assert not [name for name, p in model.named_parameters() if p.grad is None]
        if step == 0:
            optimizer.step()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient is not None
        assert gradient.abs().max() > 0, name


# Torch's own remarks while it compiles.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("inference", fast(["top-down"], INFERENCES))
def test_compiled_layers_give_the_same(inference: str) -> None:
    model = _model((1, 5, 5), inference=inference)
    x = _images(model, 3)

    def found() -> tuple[Tensor, list[Tensor]]:
        bound = model.elbo(x, generator(0)).bound
        return bound, list(torch.autograd.grad(bound.sum(), list(model.parameters())))

    before = found()
    torch._dynamo.reset()
    counter = CompileCounter()
    for network in model.parts:
        network.compile(backend=counter)
    assert_close(found(), before)
    # What does the work is in the graphs: all convolutions of every layer.
    convolutions = sum(isinstance(layer, WeightNorm) for layer in model.modules())
    assert counter.op_count > 3 * convolutions


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"depths": ()}, ValueError, "depths must hold at least one"),
        ({"depths": (2, 0)}, ValueError, r"depths\[1\] must be at least 1"),
        ({"feature_maps": 0}, ValueError, "feature_maps must be at least 1"),
        ({"latent_maps": 1.0}, TypeError, "latent_maps must be an integer"),
        ({"inference": "sideways"}, ValueError, "inference must be one of"),
        ({"flow_transforms": -1}, ValueError, "flow_transforms must be at least 0"),
        (
            {"flow_hidden_features": (0,)},
            ValueError,
            r"flow_hidden_features\[0\] must be at least 1",
        ),
        ({"flow_map": "wild"}, ValueError, "univariate must be one of"),
        ({"shape": (1, 8)}, ValueError, "shape must be"),
        ({"likelihood": "poisson"}, ValueError, "likelihood must be one of"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ResNetVAE(**{"shape": (1, 8, 8), "levels": 17, **arguments})
