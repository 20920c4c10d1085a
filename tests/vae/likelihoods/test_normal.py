"""Real numbers in any units: densities in the data's own units, and their range."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from invflow.vae import VAE, Gaussian, Normal, ResNetVAE, score
from tests.helpers import assert_close, generator, perturbed, randn

FEATURES = 5


def data(count: int = 50, features: int = FEATURES) -> Tensor:
    """Correlated rows whose columns have very different scales."""
    mix = randn(features, features, seed=3)
    units = 10.0 ** torch.arange(-2, features - 2).double()
    return (randn(count, features, seed=4) @ mix + 3) * units


def linear_vae(rows: Tensor, posterior: str = "full", scale: float = 0.5) -> VAE:
    torch.manual_seed(0)
    features = rows.shape[1]
    vae = VAE(
        *((1, 1, features), 0, "normal", posterior),
        latents=2,
        hidden_features=(),
        context=4,
        flow_transforms=1,
        flow_hidden_features=(4,),
    )
    with torch.no_grad():
        vae.encoder[0].weight.mul_(0.3)  # the posterior must stay near the exact one
    vae = perturbed(vae, scale=scale)
    vae.likelihood.standardise(rows)
    return vae


def exact(vae: VAE, rows: Tensor) -> Tensor:
    """Return log p(x) of data in their own units: normal, with covariance U (W W' + S) U."""
    layer, likelihood = vae.decoder[0], vae.likelihood
    variances = (10 * torch.tanh(likelihood.raw_scale / 5)).exp()
    unit = torch.diag(likelihood.unit)
    covariance = unit @ (layer.weight @ layer.weight.T + torch.diag(variances)) @ unit
    return MultivariateNormal(likelihood.centre + unit @ layer.bias, covariance).log_prob(rows)


@pytest.mark.parametrize("features", [1, FEATURES])
def test_the_likelihood_of_a_linear_model_is_the_closed_form(features: int) -> None:
    rows = data(20, features)
    vae = linear_vae(rows, scale=0.3)
    found = vae.log_likelihood(vae.observe(rows), 100_000, generator(0))
    assert_close(found, exact(vae, rows).detach(), 0.1)


def test_the_density_integrates_to_one_in_the_units_of_the_data() -> None:
    rows = 1000 + 300 * randn(40, 1)
    likelihood = perturbed(Normal(1), scale=0.5).standardise(rows)
    x = torch.linspace(-3000, 5000, 20_001, dtype=torch.float64)
    params = torch.tensor([[0.3]]).double()
    density = likelihood.log_prob(likelihood.observe(x[:, None]), params).exp().detach()
    assert_close(torch.trapezoid(density, x), torch.tensor(1.0).double(), 1e-6)
    mean = torch.trapezoid(density * x, x)
    assert_close(likelihood.mean(params).squeeze(), mean, 1e-3)
    drawn = likelihood.sample(params.expand(100_000, 1, 1), generator(0)).detach()
    assert abs(float(drawn.mean() - mean)) < 0.01 * float(drawn.std())
    assert_close(drawn.var(), torch.trapezoid(density * (x - mean) ** 2, x), 0.02 * drawn.var())


@pytest.mark.parametrize("posterior", ["diagonal", "iaf"])
def test_log_likelihoods_do_not_depend_on_the_units(posterior: str) -> None:
    """A change of units, y = a + b x, adds -log|b| for each feature and changes nothing else."""
    rows = data()
    first, second = linear_vae(rows, posterior), linear_vae(rows, posterior)
    shift, scale = randn(FEATURES, seed=5), 1 + 100 * randn(FEATURES, seed=6).square()
    scale[0] = -scale[0]
    changed = shift + scale * rows
    second.likelihood.standardise(changed)
    # A negative scale turns the sign of what the networks read and write.
    with torch.no_grad():
        second.encoder[0].weight[:, 0] *= -1
        second.decoder[0].weight[0] *= -1
        second.decoder[0].bias[0] *= -1
    x, y = first.observe(rows), second.observe(changed)
    jacobian = scale.abs().log().sum()
    for each in ("elbo", "log_likelihood"):
        values = [
            model.elbo(seen, generator(0)).bound
            if each == "elbo"
            else model.log_likelihood(seen, 50, generator(0))
            for model, seen in ((first, x), (second, y))
        ]
        assert_close(values[0] - jacobian, values[1], 1e-8)
    assert_close(first.embed(x, 10, generator(2)), second.embed(y, 10, generator(2)), 1e-8)
    expected = [m.reconstruct(v, generator(2)) for m, v in ((first, x), (second, y))]
    assert_close((shift + scale * expected[0]) / scale, expected[1] / scale, 1e-7)


def test_samples_follow_the_model() -> None:
    rows = data(200)
    vae = linear_vae(rows)
    drawn = (vae.sample(100_000, generator(0)) - vae.likelihood.centre) / vae.likelihood.unit
    layer = vae.decoder[0]
    variances = (10 * torch.tanh(vae.likelihood.raw_scale / 5)).exp()
    covariance = (layer.weight @ layer.weight.T + torch.diag(variances)).detach()
    assert_close(drawn.mean(0), layer.bias.detach(), 0.05)
    assert_close(torch.cov(drawn.T), covariance, 0.1)


@pytest.mark.parametrize("offset", [1_700_000_060.0, -1e12])
def test_large_offsets_keep_their_precision(offset: float) -> None:
    """Seconds since 1970 differ in digits that float32 does not have."""
    rows = offset + torch.arange(10, dtype=torch.float64)[:, None]
    vae = VAE((1, 1, 1), 0, "normal", latents=1)
    message = (
        r"data must have means and standard deviations that torch\.float32 can tell apart: feature "
        r"0 has .* and 3\.02765; subtract an offset, .*, or convert the model with \.double\(\)"
    )
    with pytest.raises(ValueError, match=message):
        vae.likelihood.standardise(rows)
    vae.double().likelihood.standardise(rows)
    for values in (rows, rows.long()):
        x = vae.observe(values)
        assert abs(float(x.mean())) < 1e-4
        assert_close(x.std(), torch.tensor(1.0).double(), 1e-4)
        assert_close(vae.likelihood.mean(x[..., None]), rows, 1e-3)


@pytest.mark.parametrize("unit", [1e-42, 1e-60, 1e42])
def test_units_that_single_precision_does_not_have(unit: float) -> None:
    rows = unit * data(20, 1)
    with pytest.raises(ValueError, match="rescale the feature"):
        Normal(1).standardise(rows)
    assert_close(Normal(1).double().standardise(rows).observe(rows).std(), torch.ones(()).double())


def test_half_precision_is_standardised_in_single() -> None:
    """Units below the smallest number of half precision would divide by 0."""
    rows = 1e-5 * torch.randn(50, 2, generator=generator(0))
    likelihood = Normal(2).standardise(1e-4 * rows)
    found = likelihood.observe(torch.zeros(2, dtype=torch.float16))
    assert found.dtype == torch.float32
    assert_close(found, -likelihood.centre / likelihood.unit)


def test_a_vamp_prior_reaches_all_data() -> None:
    """Its pseudo-rows are standardised like data, which lie beyond one standard deviation."""
    rows = data(8)
    vae = VAE((1, 1, FEATURES), 0, "normal", "iaf", "vamp", latents=2, hidden_features=(4,))
    vae = perturbed(vae, scale=0.5)
    vae.likelihood.standardise(rows)
    x = vae.observe(rows)
    assert x.abs().max() > 1.5
    vae.prior.raw.data[:] = x.repeat(4, 1)
    z = randn(6, 2, seed=7)
    expected = vae.encode(x).log_prob(z[:, None]).exp().mean(1).log()
    assert_close(vae.log_prior(z), expected)


def test_training_learns_the_noise() -> None:
    torch.manual_seed(0)
    rows = 100 + torch.randn(400, 1) @ torch.tensor([[3.0, 4.0, 5.0]]) + torch.randn(400, 3)
    vae = VAE((1, 1, 3), 0, "normal", "diagonal", latents=1, hidden_features=(8,), context=4)
    vae.likelihood.standardise(rows)
    x, noise = vae.observe(rows), generator(0)
    optimizer = torch.optim.Adam(vae.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        (-vae.elbo(x, noise).bound.mean()).backward()
        optimizer.step()
    full = MultivariateNormal(rows.mean(0), torch.cov(rows.T)).log_prob(rows).mean()
    assert abs(float(vae.log_likelihood(x, 50, noise).mean() - full)) < 0.1
    noise_sd = (5 * torch.tanh(vae.likelihood.raw_scale / 5)).exp() * vae.likelihood.unit
    assert_close(noise_sd.detach(), torch.ones(3), 0.25)


def test_images_of_real_numbers() -> None:
    images = 1e-3 * torch.randn(30, 3, 4, 5, generator=generator(0))
    vae = ResNetVAE((3, 4, 5), 0, "normal", (1,), 4, 1, flow_hidden_features=(4,))
    vae.likelihood.standardise(images)
    found = score(vae, images[:4], samples=3, bound_samples=2)
    assert found.log_likelihood.shape == (4,)
    assert vae.reconstruct(vae.observe(images[:4])).abs().max() < 0.02
    assert vae.levels == 0


def test_values_in_range_pass_without_a_warning() -> None:
    rows = data()
    likelihood = Normal(FEATURES).double().standardise(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        likelihood.check(rows)
        likelihood.check(rows + 4 * rows.std(0))
        likelihood.check(rows[:0])
    heavy = torch.cat([rows, rows[:1] + 1000 * rows.std(0)])
    assert (likelihood.standardise(heavy).observe(heavy).abs() > 5).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        likelihood.check(heavy)


def test_values_out_of_range_are_warned_of() -> None:
    rows = data()
    vae = linear_vae(rows)
    wrong = rows[:6].clone()
    wrong[2, 3] *= 1000
    wrong[4, 1] = -1e4
    message = (
        r"2 of 6 rows hold values out of the range that the model is set for: feature \d of row "
        r"\d is .*, where the mean is .* and the standard deviation .*; check the units, or set "
        r"the range with likelihood\.standardise\(training_data\)"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        x = vae.observe(wrong)
    assert caught[0].filename == __file__
    assert_close(x, (wrong - vae.likelihood.centre) / vae.likelihood.unit)
    # Data in units of hundreds, and a model that was never told.
    with pytest.warns(UserWarning, match="the mean is 0 and the standard deviation 1; check the"):
        VAE((1, 1, 2), 0, "normal", latents=1).observe(torch.tensor([[1.0, 800.0]]))


def test_numbers_of_any_kind() -> None:
    rows = torch.randint(-50, 50, (20, 3), generator=generator(0))
    vae = VAE((1, 1, 3), 0, "normal", latents=1).double()
    vae.likelihood.standardise(rows)
    assert vae.observe(rows).dtype == torch.float64
    assert_close(vae.observe(rows).std(0), torch.ones(3).double())
    assert vae.observe(rows.reshape(4, 5, 3)).shape == (4, 5, 3)


ROWS = torch.rand(4, 3)
NAN = torch.tensor([[1.0, torch.nan, 2.0], [1.0, 2.0, torch.inf]])
CONSTANT = torch.tensor([[1.0, 7.0, 2.0], [3.0, 7.0, 4.0]])
BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "features": (lambda: Normal(0), ValueError, "features must be at least 1"),
    "data-list": (
        lambda: Normal(3).standardise([[1.0]]),  # pyright: ignore[reportArgumentType]
        TypeError,
        "data must be a tensor of real numbers, got list",
    ),
    "data-booleans": (
        lambda: Normal(3).standardise(ROWS > 0.5),
        TypeError,
        r"data must be a tensor of real numbers, got torch\.bool",
    ),
    "data-nan": (
        lambda: Normal(3).standardise(NAN),
        ValueError,
        "data must be finite, got 2 NaN or infinite numbers out of 6",
    ),
    "data-one": (
        lambda: Normal(3).standardise(ROWS[:1]),
        ValueError,
        r"data must have shape \(count, 3\), with a count of at least 2, got \(1, 3\)",
    ),
    "data-size": (lambda: Normal(4).standardise(ROWS), ValueError, r"shape \(count, 4\)"),
    "data-constant": (
        lambda: Normal(3).standardise(CONSTANT),
        ValueError,
        "data must vary in every feature, got 7 throughout feature 1: its density has no maximum; "
        "drop the feature, or add noise to it",
    ),
    "values-nan": (
        lambda: VAE((1, 1, 3), 0, "normal").observe(NAN),
        ValueError,
        "values must be finite, got 2 NaN",
    ),
    "values-list": (
        lambda: VAE((1, 1, 3), 0, "normal").observe([0.0]),  # pyright: ignore[reportArgumentType]
        TypeError,
        "values must be a tensor of real numbers, got list",
    ),
    "values-size": (
        lambda: VAE((1, 1, 3), 0, "normal").observe(ROWS[:, :2]),
        ValueError,
        r"levels must have shape \(\*batch, 3\)",
    ),
    "no-levels": (
        lambda: VAE((1, 1, 3), 0),
        ValueError,
        "levels must be at least 2 for the likelihood 'logistic', got 0; for real numbers take "
        "'normal'",
    ),
    "levels": (
        lambda: VAE((1, 1, 3), 17, "normal"),
        ValueError,
        "levels must be 0 for the likelihood 'normal', which is for real numbers, got 17; for grey "
        "levels take 'gaussian'",
    ),
    "object-levels": (
        lambda: VAE((1, 1, 3), 17, Normal(3)),
        ValueError,
        "likelihood must have 17 levels, as the images have, got 0",
    ),
    "object-grey": (
        lambda: VAE((1, 1, 3), 0, Gaussian(2)),
        ValueError,
        "likelihood must have 0 levels, as the images have, got 2",
    ),
    "object-features": (
        lambda: VAE((1, 1, 3), 0, Normal(4)),
        ValueError,
        "likelihood must have 3 features, as the images have, got 4",
    ),
    "floats": (
        lambda: VAE((1, 1, 3), 17).observe(ROWS),
        TypeError,
        "give grey levels, not scaled images, or for real numbers build the model with levels=0 "
        "and likelihood='normal'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan")])
def test_damaged_units_are_refused(unit: float) -> None:
    likelihood = Normal(3)
    state = copy.deepcopy(likelihood.state_dict())
    state["unit"][1] = unit
    with pytest.raises(ValueError, match=r"unit must be positive, got|unit must be finite"):
        likelihood.load_state_dict(state)
