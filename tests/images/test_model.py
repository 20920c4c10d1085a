"""A model of images gives probabilities: bounds, their limit, the Jacobian, and samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invflow import IAF, MAF
from invflow.flows import Flow, FlowMixture
from invflow.images import Dequantisation, ImageDensity
from invflow.transforms import Permutation
from tests.helpers import assert_close, generator, perturbed
from tests.images.exact import below, diagonal, every_image, quadrature

SHAPE = (1, 1, 2)


def toy(levels: int = 2, alpha: float = 0.05, kind: type[Flow] = MAF) -> ImageDensity:
    flow = kind(2, 0, 2, (5,), generator=generator(2))  # pyright: ignore
    return ImageDensity(perturbed(flow, scale=0.4), levels, SHAPE, alpha)


def uniform_model(
    pixels: int, levels: int, dequantisation: Dequantisation | None = None
) -> ImageDensity:
    """Return the model in which all images are equally likely: logistic logits, no margin."""
    flow = Flow(Permutation(list(range(pixels))), "logistic").double()
    return ImageDensity(flow, levels, (1, 1, pixels), 0.0, dequantisation)


class Posterior(Dequantisation):
    """The best noise for a `diagonal` flow, p(r|x), by its distribution function."""

    def __init__(self, model: ImageDensity, alpha: float) -> None:
        super().__init__()
        self.model, self.alpha = [model], alpha

    def draw(
        self, images: Tensor, samples: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        model, alpha = self.model[0], self.alpha
        x = ((images + 1) * (model.levels - 1) / 2).round()
        low, high = below(model, x, alpha), below(model, x + 1, alpha)
        chance = torch.rand((samples, *x.shape), generator=generator, dtype=x.dtype)
        z = torch.special.ndtri(low + chance * (high - low))
        v, _ = model.flow.transform(z)
        r = model.levels * (torch.sigmoid(v) - alpha) / (1 - 2 * alpha) - x
        return r, model.log_density(x + r) - (high - low).log().sum(-1)


class Stairs(Dequantisation):
    """Points of a diagonal in turn, whatever the chunks."""

    given = 0

    def draw(
        self, images: Tensor, samples: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        steps = torch.arange(self.given, self.given + samples, dtype=images.dtype) % 7
        self.given += samples
        r = ((steps + 0.5) / 7)[:, None, None].expand(samples, *images.shape)
        return r, r.sum(-1)


class Brightness(Dequantisation):
    """One point whose weight says which image it was for; remembers how many it gave at once."""

    most = 0

    def draw(
        self, images: Tensor, samples: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        self.most = max(self.most, samples * len(images))
        r = images.new_full((samples, *images.shape), 0.5)
        return r, (2 * (images + 1)).sum(-1).expand(r.shape[:-1])


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("kind", [IAF, MAF])
def test_probabilities_sum_to_one_without_a_margin(levels: int, kind: type[Flow]) -> None:
    log_p, _ = quadrature(toy(levels, alpha=0.0, kind=kind), nodes=120)
    assert_close(log_p.exp().sum(), torch.tensor(1.0).double(), 1e-6)


@pytest.mark.parametrize(("levels", "pixels"), [(2, 2), (3, 3), (17, 1)])
@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_probabilities_of_normal_logits_in_closed_form(
    levels: int, pixels: int, alpha: float
) -> None:
    model = ImageDensity(diagonal(pixels), levels, (pixels, 1, 1), alpha)
    x = every_image(model).double()
    cells = below(model, x + 1, alpha) - below(model, x, alpha)
    log_p, _ = quadrature(model, nodes=40)
    assert_close(log_p.exp(), cells.prod(-1), 1e-5)
    # What is missing to one is in the margins.
    ends = torch.tensor([[0.0], [levels]]).double().expand(2, pixels)
    inside = below(model, ends, alpha).diff(dim=0).prod()
    assert_close(log_p.exp().sum(), inside, 1e-5)
    assert inside < 1 - 1e-12 if alpha == 0.05 else inside > 1 - 1e-6


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.05, 0.3])
def test_density_has_the_whole_jacobian(alpha: float) -> None:
    model = toy(levels=5, alpha=alpha)
    y = torch.tensor([1.3, 4.2], dtype=torch.float64)

    def logit(y: Tensor) -> Tensor:
        unit = alpha + (1 - 2 * alpha) * y / 5
        return unit.log() - (1 - unit).log()

    jacobian = torch.autograd.functional.jacobian(logit, y)
    expected = model.flow().log_prob(logit(y)) + torch.linalg.slogdet(jacobian).logabsdet
    assert_close(model.log_density(y), expected)


def test_bound_of_uniform_noise_is_its_expectation_below_the_probability() -> None:
    model = toy()
    log_p, expected = quadrature(model, nodes=40)
    with torch.no_grad():
        bounds = model.bound(every_image(model).expand(20000, 4, 2), generator(1))
    error = bounds.std(0) / math.sqrt(len(bounds))
    assert (bounds.std(0) > 0.05).all()
    assert ((bounds.mean(0) - expected).abs() < 4 * error).all()
    assert (expected < log_p - 0.01).all()


def test_importance_weighted_bound_rises_to_the_probability() -> None:
    model = toy()
    log_p, _ = quadrature(model, nodes=40)
    x = every_image(model).expand(4000, 4, 2)
    bounds = [model.log_likelihood(x, samples, generator(1)).mean(0) for samples in (1, 2, 8, 64)]
    for fewer, more in zip(bounds, [*bounds[1:], log_p], strict=True):
        assert (fewer < more).all()
    assert_close(bounds[-1], log_p, 5e-3)


@pytest.mark.parametrize("samples", [1, 3])
def test_best_noise_closes_the_gap(samples: int) -> None:
    alpha = 0.05
    bare = ImageDensity(diagonal(2), 3, SHAPE, alpha)
    model = ImageDensity(bare.flow, 3, SHAPE, alpha, Posterior(bare, alpha))
    log_p, uniform = quadrature(model, nodes=40)
    assert (uniform < log_p - 1e-3).all()
    assert_close(model.bound(every_image(model), generator(1), samples), log_p, 1e-7)


@pytest.mark.parametrize(("levels", "bits"), [(2, 1.0), (16, 4.0), (256, 8.0)])
def test_bits_per_dim_of_equally_likely_images(levels: int, bits: float) -> None:
    model = uniform_model(3, levels)
    x = torch.tensor([[0, 1, levels - 1], [1, 1, 0]], dtype=torch.uint8)
    expected = torch.full((2,), bits, dtype=torch.float64)
    assert_close(model.bits_per_dim(x), expected)
    assert_close(model.bits_per_dim(x, samples=3), expected)


@pytest.mark.parametrize("alpha", [0.0, 0.05])
def test_samples_are_levels_as_likely_as_the_model_says(alpha: float) -> None:
    model = ImageDensity(diagonal(3, log_scale=0.5), 4, (3, 1, 1), alpha)
    x = model.sample(20000, generator(1), chunk=7000)
    assert x.shape == (20000, 3, 1, 1)
    assert x.dtype == torch.int64
    edges = torch.arange(1, 4).double()[:, None].expand(3, 3)
    inner = below(model, edges, alpha)
    # The margins belong to the outermost levels.
    cells = torch.cat([torch.zeros(1, 3), inner, torch.ones(1, 3)]).diff(dim=0)
    for level in range(4):
        share = (x.flatten(1) == level).double().mean(0)
        error = (cells[level] * (1 - cells[level]) / len(x)).sqrt()
        assert ((share - cells[level]).abs() < 4 * error).all()


def test_pixels_of_samples_depend_on_each_other_as_the_model_says() -> None:
    model = toy(alpha=0.0)
    log_p, _ = quadrature(model, nodes=120)
    x = model.sample(20000, generator(1)).flatten(1)
    for image, p in zip(every_image(model), log_p.exp(), strict=True):
        share = (x == image).all(-1).double().mean()
        assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / len(x))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
def test_images_and_vectors_of_any_batch_shape(dtype: torch.dtype) -> None:
    model = ImageDensity(perturbed(MAF(12), scale=0.1), 5, (3, 2, 2), 0.05)
    x = torch.randint(5, (4, 2, 3, 2, 2), generator=generator(1)).to(dtype)
    bound = model.bound(x, generator(2), samples=3)
    assert bound.shape == (4, 2)
    assert_close(model.bound(x.flatten(-3), generator(2), samples=3), bound)
    assert_close(model(x, generator(2), 3), bound)
    assert_close(model.log_likelihood(x, 3, generator(2)), bound)
    assert_close(model.bits_per_dim(x, 3, generator(2)), -bound / (12 * math.log(2)))
    assert model.bound(x[0, 0], generator(2)).shape == ()
    assert model.bound(x[:0]).shape == model.log_likelihood(x[:0]).shape == (0, 2)


def test_one_pixel() -> None:
    flow = perturbed(IAF(1, 0, 2, (4,)), scale=0.3)
    model = ImageDensity(flow, 3, (1, 1, 1), 0.05)
    x = torch.arange(3).reshape(3, 1, 1, 1)
    log_p, _ = quadrature(model, nodes=40)
    assert_close(model.log_likelihood(x, 200000, generator(1)), log_p, 1e-2)
    assert model.sample(4).shape == (4, 1, 1, 1)


def test_a_mixture_of_flows() -> None:
    flow = perturbed(FlowMixture([MAF(2), IAF(2)]), scale=0.2)
    model = ImageDensity(flow, 2, SHAPE, 0.0)
    log_p, _ = quadrature(model, nodes=120)
    assert_close(log_p.exp().sum(), torch.tensor(1.0).double(), 1e-6)
    assert model.sample(3).shape == (3, *SHAPE)


@pytest.mark.parametrize(("samples", "chunk"), [(1, 1), (5, 1), (5, 3), (5, 11)])
def test_draws_in_pieces_are_all_weighed(samples: int, chunk: int) -> None:
    stairs = Stairs()
    model = toy()
    model.dequantisation = stairs
    for image in every_image(model).split(1):
        stairs.given = 0
        whole = model.bound(image, samples=samples).detach()
        stairs.given = 0
        assert_close(model.log_likelihood(image, samples, chunk=chunk), whole)


@pytest.mark.parametrize(("samples", "chunk"), [(1, 3), (3, 4), (3, 7), (3, 2), (2, 100)])
def test_images_in_pieces_of_bounded_size_keep_their_order(samples: int, chunk: int) -> None:
    brightness = Brightness()
    model = uniform_model(2, 5, brightness)
    x = torch.randint(5, (2, 5, 2), generator=generator(1))
    expected = -2 * math.log(5) - x.double().sum(-1)
    assert_close(model.log_likelihood(x, samples, chunk=chunk), expected)
    assert 0 < brightness.most <= chunk


def test_same_seed_same_result() -> None:
    model = toy()
    x = every_image(model)
    first = model.bound(x, generator(3))
    assert torch.equal(model.bound(x, generator(3)), first)
    assert not torch.equal(model.bound(x, generator(4)), first)
    assert torch.equal(model.sample(9, generator(3)), model.sample(9, generator(3)))


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.05])
def test_single_precision_at_the_outermost_levels(alpha: float) -> None:
    flow = Flow(Permutation([0, 1]), "logistic")
    x = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).expand(2000, 2, 2)
    single = ImageDensity(flow, 256, SHAPE, alpha).bound(x, generator(1)).mean()
    double = ImageDensity(flow.double(), 256, SHAPE, alpha).bound(x, generator(1)).mean()
    assert torch.isfinite(single)
    assert single.dtype == torch.float32
    assert_close(single.double(), double, 1e-2)


def test_half_precision_tells_levels_apart() -> None:
    flow = Flow(Permutation([0, 1]))
    x = torch.tensor([[255, 0]]).expand(2000, 2)
    double = ImageDensity(flow.double(), 256, SHAPE, 1e-4).bound(x, generator(1)).mean()
    half = ImageDensity(flow.bfloat16(), 256, SHAPE, 1e-4).bound(x, generator(1)).double().mean()
    assert_close(half, double, 0.03)


def test_trains_and_is_restored_from_its_state() -> None:
    model = ImageDensity(MAF(4, 0, 2, (8,)), 2, (1, 2, 2), 0.05)
    x = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]]).repeat(16, 1)
    before = model.log_likelihood(x, 50, generator(1)).mean()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(60):
        loss = -model(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = model.log_likelihood(x, 50, generator(1))
    assert after.mean() > before + 0.5
    again = ImageDensity(MAF(4, 0, 2, (8,)), 2, (1, 2, 2), 0.05)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.log_likelihood(x, 50, generator(1)), after)
