"""Conditional models: every part depends on what is given, and so does their likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal
from torch.distributions import Normal as TorchNormal

from invflow.flows import Flow
from invflow.transforms import Elementwise
from invflow.vae import VAE, Objective, ResNetVAE
from invflow.vae.evaluation import score, spread
from invflow.vae.models.base import LatentModel
from invflow.vae.models.prior import Autoregressive, Normal, Vamp
from invflow.vae.networks import NETWORKS, Joined, starting
from tests.helpers import assert_close, generator, perturbed, randn
from tests.vae.linear import NormalPixels

PIXELS, LATENTS = 5, 2


def _vae(given: int = 3, shape: tuple[int, int, int] = (1, 1, 5), **options: Any) -> VAE:
    torch.manual_seed(0)
    sizes = {"latents": LATENTS, "hidden_features": (4,), "context": 4, "flow_transforms": 2}
    settings = {**sizes, "flow_hidden_features": (6,), **options}
    return perturbed(VAE(shape, 17, given=given, **settings), scale=0.4)


def _resnet_vae(given: int = 3, shape: tuple[int, int, int] = (1, 1, 5), **o: Any) -> ResNetVAE:
    torch.manual_seed(0)
    sizes = {"depths": (1, 1), "feature_maps": 3, "latent_maps": 2, "flow_hidden_features": (3,)}
    return perturbed(ResNetVAE(shape, 17, given=given, **{**sizes, **o}), scale=0.4)


MODELS: dict[str, Callable[..., LatentModel]] = {
    "diagonal": partial(_vae, posterior="diagonal"),
    "iaf": partial(_vae, posterior="iaf"),
    "spline": partial(_vae, posterior="spline", prior="autoregressive"),
    "vamp": partial(_vae, posterior="iaf", prior="vamp"),
    "autoregressive": partial(_vae, posterior="full", prior="autoregressive"),
    "gated": partial(_vae, network="gated"),
    "resnet": partial(_vae, network="resnet", prior="vamp"),
    "top-down": _resnet_vae,
    "gaussian-layers": partial(_resnet_vae, flow_transforms=0),
    "bottom-up": partial(_resnet_vae, inference="bottom-up"),
}


def _linear(given: int, prior: str | Autoregressive = "normal") -> VAE:
    """Return a linear VAE of normal pixels with standard deviation 1/2."""
    likelihood = NormalPixels(17)
    options = {"posterior": "full", "hidden_features": (), "context": 6}
    return _vae(given, likelihood=likelihood, prior=prior, **options)


def _gaussian_prior(given: int) -> Autoregressive:
    """Return a normal prior whose mean and scales depend on what is given."""
    prior = Autoregressive(LATENTS, given=given)
    prior.flow = Flow(Elementwise(LATENTS, "affine", context=given))
    return prior


def _exact(vae: VAE, x: Tensor, c: Tensor) -> Tensor:
    """Return log p(x|c), where x = W z + V c + b + noise, and z is normal given c."""
    layer = cast(Any, vae.decoder).network[0]
    weight, bias = layer.weight[::2], layer.bias[::2]
    mean, scale = torch.zeros(len(c), LATENTS).double(), torch.ones(len(c), LATENTS).double()
    if isinstance(vae.prior, Autoregressive):
        mean = vae.prior.flow.transform(torch.zeros_like(mean), c)[0]
        scale = vae.prior.flow.transform(torch.ones_like(mean), c)[0] - mean
    loadings = weight[:, :LATENTS] * scale[:, None]
    covariance = loadings @ loadings.mT + 0.25 * torch.eye(PIXELS).double()
    centre = mean @ weight[:, :LATENTS].T + c @ weight[:, LATENTS:].T + bias
    return MultivariateNormal(centre, covariance).log_prob(x)


@pytest.mark.parametrize("prior", ["normal", "gaussian"])
@pytest.mark.parametrize("given", [1, 3])
def test_bounds_rise_to_the_exact_likelihood(given: int, prior: str) -> None:
    vae = _linear(given, "normal" if prior == "normal" else _gaussian_prior(given))
    x, c = randn(6, PIXELS, seed=1), randn(6, given, seed=2)
    solved = _exact(vae, x, c).detach()
    assert not torch.allclose(solved, _exact(vae, x, c.flip(0)), atol=0.1)
    noise = generator(3)
    inference = [*vae.encoder.parameters(), *vae.posterior.parameters()]
    optimizer = torch.optim.Adam(inference, 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        (-vae.elbo(x.expand(32, 6, 5), noise, c).bound.logsumexp(0).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        bound = vae.elbo(x.expand(2000, 6, 5), noise, c).bound.mean(0)
        tighter = vae.importance_bound(x.repeat(300, 1), 5, noise, c.repeat(300, 1))
    assert (bound < tighter.reshape(300, 6).mean(0)).all()
    assert (tighter.reshape(300, 6).mean(0) < solved).all()
    # In chunks of one image, each with its own c.
    many = vae.log_likelihood(x, 20_000, noise, chunk=20_000, given=c)
    assert_close(many, solved, tolerance=0.05)
    scored = score(vae, torch.arange(5)[None], samples=20_000, chunk=20_000, given=c[:1])
    observed = vae.observe(torch.arange(5)[None])
    assert_close(scored.log_likelihood, _exact(vae, observed, c[:1]).detach(), tolerance=0.05)


@torch.no_grad()
def test_a_normal_prior_that_depends_on_c_is_the_same_model() -> None:
    """Its mean and scales can as well be the decoder's: p(x|c) by quadrature over one latent."""

    class After(nn.Module):
        def __init__(self, transform: Elementwise, decoder: nn.Module) -> None:
            super().__init__()
            self.transform, self.decoder = transform, decoder

        def forward(self, z: Tensor, given: Tensor) -> Tensor:
            return self.decoder(self.transform(z, given)[0], given)

    torch.manual_seed(0)
    transform = perturbed(Elementwise(1, "affine", context=2))
    prior = Autoregressive(1, given=2)
    prior.flow = Flow(transform)
    encoder = Joined(nn.Linear(PIXELS + 2, 4), nn.Identity())
    decoder = Joined(
        nn.Sequential(nn.Linear(1 + 2, 10), nn.Tanh(), nn.Unflatten(1, (PIXELS, 2))), nn.Identity()
    )
    options: dict[str, Any] = {"latents": 1, "context": 4, "given": 2}
    first = VAE((1, 1, 5), 17, prior=prior, network=(encoder, decoder), **options).double()
    network = encoder, After(transform, decoder)
    second = VAE((1, 1, 5), 17, network=network, **options).double()
    x, c = first.observe(torch.randint(17, (4, 5), generator=generator(0))), randn(4, 2)
    z = torch.linspace(-40, 40, 20_001, dtype=torch.float64)[:, None, None].expand(-1, 4, 1)

    def likelihood(vae: VAE) -> Tensor:
        joint = vae.likelihood.log_prob(x, vae.decode(z, c)) + vae.log_prior(z, c)
        return joint.logsumexp(0) + math.log(80 / 20_000)

    assert_close(likelihood(first), likelihood(second), tolerance=1e-8)
    assert not torch.allclose(first.log_prior(z, c), second.log_prior(z, c))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("samples", [1, 3])
def test_the_gradient_reaches_every_part(name: str, samples: int) -> None:
    vae = MODELS[name]()
    x, c = _observed(vae, 4), randn(4, 3)
    loss = Objective(train_samples=samples).loss(vae, x, 1, generator(0), c)
    loss.backward()
    for where, parameter in vae.named_parameters():
        assert parameter.grad is not None, where
        assert parameter.grad.isfinite().all(), where
        assert (parameter.grad != 0).any(), where
    # As finite differences see it, along one direction of all of the parameters.
    steps = [randn(*p.shape, seed=i) for i, p in enumerate(vae.parameters())]
    slope = sum(float((p.grad * s).sum()) for p, s in zip(vae.parameters(), steps, strict=True))
    sides = []
    with torch.no_grad():
        for size in (1e-5, -2e-5):
            for parameter, step in zip(vae.parameters(), steps, strict=True):
                parameter += size * step
            sides.append(float(Objective().loss(vae, x, 1, generator(0), c)))
    # With several samples, the gradient is another estimate of the same slope.
    if samples == 1:
        assert (sides[0] - sides[1]) / 2e-5 == pytest.approx(slope, rel=1e-4, abs=1e-5)


def _observed(model: LatentModel, count: int) -> Tensor:
    levels = torch.randint(17, (count, model.pixels), generator=generator(7))
    return model.observe(levels, generator(8))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("given", [1, 3])
@torch.no_grad()
def test_every_part_depends_on_what_is_given(name: str, given: int) -> None:
    model = MODELS[name](given)
    x = _observed(model, 1)
    one, other = randn(given, seed=1), randn(given, seed=2)

    def differs(call: Callable[[Tensor], Tensor]) -> bool:
        return bool((call(one) - call(other)).abs().max() > 1e-4)

    z = randn(1, model.latents)
    assert differs(lambda c: model.draw(x, 1, generator(3), c)[0])  # the posterior
    assert differs(lambda c: model.decode(z, c))
    prior_depends = differs(lambda c: model.draw_prior(2000, generator(3), c))
    if isinstance(model, VAE):
        assert differs(lambda c: model.encoder(x, c[None]))
        assert differs(lambda c: model.encode(x, c).log_prob(z))
        assert prior_depends == differs(lambda c: model.log_prior(z, c))
        assert prior_depends == (not isinstance(model.prior, Normal))
    else:
        assert prior_depends
    # The encoder reads c together with the image, not only beside it.
    images = _observed(model, 2)

    def step(c: Tensor) -> Tensor:
        return model.embed(images, 500, generator(3), given=c).diff(dim=0)

    assert differs(step)


@pytest.mark.parametrize("batch", [(), (4,), (3, 2)])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_batch_shapes(name: str, batch: tuple[int, ...]) -> None:
    model = MODELS[name]()
    x = _observed(model, math.prod(batch)).reshape(*batch, model.pixels)
    z, c = randn(*batch, model.latents), randn(*batch, 3, seed=4)
    assert model.elbo(x, generator(0), c).bound.shape == batch
    rows = zip(z.reshape(-1, model.latents), c.reshape(-1, 3), strict=True)
    decoded = [model.decode(*row) for row in rows]
    assert_close(model.decode(z, c), torch.stack(decoded).reshape(*batch, model.pixels, -1))
    # One c for all is the same as its copies.
    one = c.reshape(-1, 3)[0]
    copies = one.expand(*batch, 3).clone()
    assert_close(model.elbo(x, generator(0), one), model.elbo(x, generator(0), copies))
    assert_close(model.decode(z, one), model.decode(z, copies))
    if isinstance(model, VAE):
        rows = zip(z.reshape(-1, model.latents), c.reshape(-1, 3), strict=True)
        densities = torch.stack([model.log_prior(*row) for row in rows])
        assert_close(model.log_prior(z, c), densities.reshape(batch))
        q = model.encode(x, c).log_prob(z)
        triples = [(t.reshape(-1, t.shape[-1])) for t in (x, c, z)]
        each = [model.encode(a, b).log_prob(d) for a, b, d in zip(*triples, strict=True)]
        assert_close(q, torch.stack(each).reshape(batch))


@pytest.mark.parametrize("name", ["diagonal", "vamp", "top-down"])
@torch.no_grad()
def test_pieces_keep_what_is_given_with_its_images(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here c is the first pixels, and so on: each call of a part sees the two of one image."""
    model = MODELS[name]()
    x, z = _observed(model, 7), randn(7, model.latents)
    c, first = x[:, :3], z[:, :1] * torch.ones(3)
    vars(model)["at_once"] = 2
    draw, decode, elbo, seen = model.draw, model.decode, model.elbo, []

    def drawn(x: Tensor, samples: int, generator: Any, given: Tensor) -> Any:
        seen.append(torch.equal(x[:, :3], given))
        return draw(x, samples, generator, given)

    def bounded(x: Tensor, generator: Any, given: Tensor) -> Any:
        seen.append(torch.equal(x[:, :3], given))
        return elbo(x, generator, given)

    monkeypatch.setattr(model, "draw", drawn)
    model.log_likelihood(x, 5, given=c, chunk=3)
    model.log_likelihood(x, 2, given=c)
    model.reconstruct(x, given=c)
    spread(model, x, 2, given=c)
    if not isinstance(model, VAE):
        model.embed(x, 5, given=c)
    monkeypatch.setattr(model, "elbo", bounded)
    score(model, torch.arange(35).reshape(7, 5) % 17, samples=2, given=_scored(model)[:, :3])
    assert len(seen) > 20
    assert all(seen)
    monkeypatch.setattr("invflow.vae.models.base.MAX_NUMBERS", 2 * model.pixels * 17)
    assert_close(model.expected(z, first), model.likelihood.mean(decode(z, first)))
    given: list[Tensor] = []

    def decoded(z: Tensor, c: Tensor) -> Tensor:
        given.append(c)
        return decode(z, c)

    monkeypatch.setattr(model, "decode", decoded)
    model.sample(7, given=c)
    assert len(given) == 4
    assert torch.equal(torch.cat(given), c)
    given.clear()
    model.sample(3, given=c[0])
    assert torch.equal(torch.cat(given), c[:1].expand(3, 3))


def _scored(model: LatentModel) -> Tensor:
    return model.observe(torch.arange(35).reshape(7, 5) % 17)


@torch.no_grad()
def test_reconstructions_and_interpolations() -> None:
    model = MODELS["diagonal"]()
    x, c = _observed(model, 4), randn(4, 3)
    z = model.draw(x[:2], 1, generator(1), c[:2])[0][0]
    assert_close(model.reconstruct(x[:2], generator(1), c[:2]), model.expected(z, c[:2]))
    noise = generator(1)
    lines = model.interpolate(x[:2], x[2:], 3, noise, (c[:2], c[2:]))
    noise = generator(1)
    ends = [model.draw(x[i], 1, noise, c[i])[0][0] for i in (slice(2), slice(2, 4))]
    middle = (ends[0] + ends[1]) / 2, (c[:2] + c[2:]) / 2
    assert_close(lines[:, 0], model.expected(ends[0], c[:2]))
    assert_close(lines[:, 1], model.expected(*middle))
    assert_close(lines[:, 2], model.expected(ends[1], c[2:]))


@torch.no_grad()
def test_a_conditional_vamp_is_a_mixture_of_posteriors() -> None:
    vae = _vae(2, posterior="diagonal", prior=Vamp(LATENTS, 5, 3, given=2))
    prior = vae.prior
    assert isinstance(prior, Vamp)
    assert prior.scores is not None
    assert prior.contexts is not None
    layers = cast(Any, vae.encoder).network
    context = layers(torch.cat([torch.tanh(prior.raw), prior.contexts], 1))
    zeros, ones = torch.zeros(3, 2).double(), torch.ones(3, 2).double()
    means = vae.posterior.transform(zeros, context)[0]
    sds = vae.posterior.transform(ones, context)[0] - means
    z, c = 2 * randn(6, 2), randn(6, 2, seed=5)
    mixture = MixtureSameFamily(
        Categorical(logits=c @ prior.scores.weight.T + prior.scores.bias),
        Independent(TorchNormal(means.expand(6, 3, 2), sds.expand(6, 3, 2)), 1),
    )
    assert_close(vae.log_prior(z, c), mixture.log_prob(z))


@pytest.mark.parametrize("posterior", ["diagonal", "iaf"])
@pytest.mark.parametrize("prior", ["vamp", "autoregressive"])
@torch.no_grad()
def test_draws_from_the_prior_follow_its_density(prior: str, posterior: str) -> None:
    vae = _vae(2, prior=prior, posterior=posterior, latents=1)
    grid = torch.linspace(-30, 30, 6001, dtype=torch.float64)
    for c in (randn(2, seed=1), randn(2, seed=2)):
        mass = vae.log_prior(grid[:, None], c).exp() * 0.01
        assert_close(float(mass.sum()), 1.0, tolerance=1e-4)
        draws = vae.draw_prior(20_000, generator(3), c)
        below = (mass.cumsum(0) - 0.5 * mass).numpy()
        found = scipy.stats.kstest(draws[:, 0].numpy(), partial(np.interp, xp=grid, fp=below))
        assert found.statistic < 0.012


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("given", [1, 7])
def test_networks_read_all_that_is_given(network: str, given: int) -> None:
    """More values than there are places in a channel, too: none is lost."""
    vae = _vae(given, shape=(3, 2, 1), network=network)
    x, z, c = randn(1, 6), randn(1, LATENTS), randn(1, given, seed=2)
    for call in (lambda c: vae.encoder(x, c), lambda c: vae.decoder(z, c).flatten(1)):
        jacobian = torch.autograd.functional.jacobian(call, c).reshape(-1, given)
        rank = int(torch.linalg.matrix_rank(jacobian))
        assert rank >= min(given, vae.posterior.context)


def test_starting_takes_what_is_given() -> None:
    for model in (_vae(3, network="resnet"), _resnet_vae(3)):
        x, c = _observed(model, 32), model.one_hot(torch.arange(32) % 3)
        with starting(model):
            model.elbo(x, generator(0), c)
        assert model.elbo(x, generator(0), c).bound.isfinite().all()


@pytest.mark.parametrize("name", ["iaf", "gated"])
@torch.no_grad()
def test_compiled_and_in_mixed_precision(name: str) -> None:
    model = MODELS[name]().float()
    x, c = _observed(model, 4), randn(4, 3, dtype=torch.float32)
    expected = model.elbo(x, generator(0), c)
    for part in model.parts:
        part.compile(backend="eager")
    assert_close(model.elbo(x, generator(0), c), expected, tolerance=1e-5)
    torch.compiler.reset()
    with torch.autocast("cpu", torch.bfloat16):
        found = MODELS[name]().float().elbo(x, generator(0), c).bound
    assert found.dtype == torch.float32
    assert_close(found, expected.bound, tolerance=0.1)


@pytest.mark.parametrize("name", MODELS)
def test_saving(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert loaded.given == 3
    x, c = _observed(model, 2), randn(2, 3)
    assert_close(
        model.eval().elbo(x, generator(0), c), loaded.elbo(x, generator(0), c), tolerance=0
    )


def test_labels_become_ones_and_zeros() -> None:
    vae = _vae(3)
    labels = torch.tensor([[2, 0], [1, 1]], dtype=torch.uint8)
    assert vae.one_hot(labels).tolist() == torch.eye(3)[labels.long()].tolist()
    assert vae.one_hot(labels).dtype == torch.float64
    assert vae.one_hot(labels[:0]).shape == (0, 2, 3)


C = torch.zeros(2, 3).double()
X = torch.zeros(2, 5).double()
Call = Callable[[Any, Any], Any]
CALLS: dict[str, Call] = {
    "elbo": lambda m, c: m.elbo(X, None, c),
    "draw": lambda m, c: m.draw(X, 2, None, c),
    "decode": lambda m, c: m.decode(torch.zeros(2, m.latents).double(), c),
    "draw_prior": lambda m, c: m.draw_prior(2, None, c),
    "sample": lambda m, c: m.sample(2, given=c),
    "importance_bound": lambda m, c: m.importance_bound(X, 2, given=c),
    "log_likelihood": lambda m, c: m.log_likelihood(X, 2, given=c),
    "embed": lambda m, c: m.embed(X, 2, given=c),
    "reconstruct": lambda m, c: m.reconstruct(X, given=c),
    "interpolate": lambda m, c: m.interpolate(X, X, given=None if c is None else (c, c)),
    "score": lambda m, c: score(m, X.long(), samples=2, given=c),
    "spread": lambda m, c: spread(m, X, 2, given=c),
}
BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "missing": (
        None,
        ValueError,
        r"given of shape \(\*batch, 3\) is required, got None; pass given=c by name, for labels "
        r"given=model\.one_hot\(labels\)",
    ),
    "size": (C[:, :2], ValueError, r"given must have shape \(\*batch, 3\), .* got \(2, 2\)"),
    "batch": (C[:1].repeat(3, 1), ValueError, r"given must broadcast to the batch shape \(2,\)"),
    "labels": (
        torch.tensor([0, 1]),
        TypeError,
        "given must hold real numbers, got torch.int64; one_hot turns labels into them",
    ),
    "list": ([[0.0] * 3] * 2, TypeError, r"given must be a torch\.Tensor, got list"),
    "dtype": (C.float(), TypeError, "given must have the module's dtype torch.float64"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["vamp", "top-down"])
def test_bad_input(name: str, call: str) -> None:
    model = MODELS[name]()
    CALLS[call](model, C)
    for value, error, message in BAD.values():
        with pytest.raises(error, match=message):
            CALLS[call](model, value)
    with pytest.raises(
        ValueError, match=r"given must be None, because none was declared \(given=0\), got a Tensor"
    ):
        CALLS[call](MODELS[name](0), C)


def test_an_interpolation_has_two_ends() -> None:
    """The rows of one tensor are not its ends, whatever their number."""
    for value, got in ((C, "Tensor of length 2"), ([C, C], "list of length 2"), ((C,), "tuple of")):
        with pytest.raises(
            TypeError,
            match="given must be two tensors in a tuple, for the first and for the second "
            rf"observations, got a {got}.*; where both are the same, give \(given, given\)",
        ):
            MODELS["vamp"]().interpolate(X, X, given=value)  # pyright: ignore[reportArgumentType]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="given must be at least 0, got -1"):
        _vae(-1)
    with pytest.raises(TypeError, match="given must be an integer"):
        _resnet_vae(2.5)  # pyright: ignore[reportArgumentType]
    for prior in (Vamp(2, 5), Vamp(2, 5, given=2), Autoregressive(2, given=1)):
        with pytest.raises(ValueError, match=r"prior must have given=3, as the VAE, got [012]"):
            _vae(3, prior=prior)
    assert _vae(3, prior=Autoregressive(2)).prior.given == 0  # a prior that does not depend on c
    with pytest.raises(ValueError, match="labels are for a conditional model; build it with given"):
        _vae(0).one_hot(torch.tensor([0]))
    with pytest.raises(TypeError, match=r"labels must be a tensor of integers, got torch\.float32"):
        _vae(3).one_hot(torch.zeros(2))
    with pytest.raises(TypeError, match="labels must be a tensor of integers, got list"):
        _vae(3).one_hot([0, 1])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"labels must lie in 0 \.\. 2, got 0 to 3"):
        _vae(3).one_hot(torch.tensor([0, 3]))


def test_networks_of_ones_own_take_two_arguments() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Bilinear(PIXELS, 3, 4)

        def forward(self, x: Tensor, given: Tensor) -> Tensor:
            return self.layer(x, given)

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Bilinear(LATENTS, 3, PIXELS * 2)

        def forward(self, z: Tensor, given: Tensor) -> Tensor:
            return self.layer(z, given).unflatten(-1, (PIXELS, 2))

    vae = _vae(3, network=(Encoder(), Decoder()))
    x = _observed(vae, 4)
    bounds = [vae.elbo(x, generator(0), vae.one_hot(torch.full((4,), k))).bound for k in range(3)]
    assert not torch.allclose(bounds[0], bounds[1])
    assert not torch.allclose(bounds[1], bounds[2])
