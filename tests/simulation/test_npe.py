from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Dirichlet, Exponential, Gamma, HalfNormal, Normal, Uniform

from invflow.simulation import NPE, Prior, Settings, Simulations, fit
from tests.simulation import known

X = torch.tensor([0.5, -0.3, 0.2], dtype=torch.float64)
#: At the edge of the box.
EDGE = {"x": 0.02, "y": 11.9}
SHORT = Settings("maf", transforms=2, hidden_features=(16,), steps=30, ensemble=1)


def test_the_linear_model_has_its_closed_form(linear: NPE) -> None:
    posterior, exact = linear.posterior(X), known.gaussian_posterior(X)
    draws = posterior.sample(20_000)
    # The errors are those of learning from 4,000 simulations.
    torch.testing.assert_close(draws.mean(0), exact.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(draws.T.cov(), exact.covariance_matrix, atol=0.01, rtol=0.08)
    divergence = (posterior.log_prob(draws) - exact.log_prob(draws)).mean()
    assert 0 <= float(divergence) < 0.02
    assert not posterior.distance.is_far


def test_densities_and_draws_of_many_observations_are_those_of_one(linear: NPE) -> None:
    theta, x = known.gaussian_prior().sample(3, seed=9), torch.stack([X, 2 * X, -X])
    expected = [linear.posterior(each).log_prob(t) for t, each in zip(theta, x, strict=True)]
    torch.testing.assert_close(linear.log_prob(theta, x), torch.stack(expected))
    both = torch.stack([theta, theta + 0.1])
    torch.testing.assert_close(linear.log_prob(both, x)[1], linear.log_prob(theta + 0.1, x))
    draws = linear.sample(x, 4000)
    for i, each in enumerate(x):
        exact = known.gaussian_posterior(each)
        torch.testing.assert_close(draws[:, i].mean(0), exact.mean, atol=0.04, rtol=0)


def test_the_same_seed_gives_the_same_posterior(linear: NPE) -> None:
    posterior = linear.posterior(X)
    assert torch.equal(posterior.sample(50), posterior.sample(50))
    assert not torch.equal(posterior.sample(50), posterior.sample(50, seed=7))
    one, two = (fit(known.boxed(60, 0), known.boxed_prior(), settings=SHORT, seed=3) for _ in "12")
    assert torch.equal(one.posterior(EDGE).sample(9), two.posterior(EDGE).sample(9))


def test_draws_carry_gradients_to_the_data(linear: NPE) -> None:
    x = X.clone().requires_grad_()
    mean = linear.posterior(x).rsample(2000).mean(0)
    (found,) = torch.autograd.grad(mean[0], x)
    precision = torch.eye(2, dtype=torch.float64) + known.A.T @ known.A / known.NOISE**2
    exact = torch.linalg.solve(precision, known.A.T / known.NOISE**2)[0]
    torch.testing.assert_close(found, exact, atol=0.03, rtol=0)
    assert not linear.posterior(x).sample(3).requires_grad


def test_no_mass_lies_outside_a_box_and_the_density_integrates_to_one(box: NPE) -> None:
    posterior = box.posterior(EDGE)
    draws = posterior.sample(50_000)
    low, high = known.LOW.double(), known.HIGH.double()
    assert bool(((draws > low) & (draws < high)).all())
    inside = [
        low[i] + (high[i] - low[i]) * (torch.arange(400, dtype=torch.float64) + 0.5) / 400
        for i in (0, 1)
    ]
    grid = torch.cartesian_prod(*inside)
    cell = float((high - low).prod()) / len(grid)
    assert float(posterior.log_prob(grid).exp().sum()) * cell == pytest.approx(1, abs=0.01)
    outside = torch.tensor([[-0.01, 11.0], [0.5, 12.01], [0.5, math.nan]])
    assert posterior.log_prob(outside).isneginf().all()


def test_a_box_cuts_the_posterior_as_it_should(box: NPE) -> None:
    x = torch.tensor([EDGE["x"], EDGE["y"]], dtype=torch.float64)
    low, high = known.LOW.double(), known.HIGH.double()
    normal = Normal(x, known.BOXED_NOISE)
    a, b = (low - x) / known.BOXED_NOISE, (high - x) / known.BOXED_NOISE
    standard = Normal(torch.zeros(2).double(), torch.ones(2).double())
    mass = normal.cdf(high) - normal.cdf(low)
    mean = x + known.BOXED_NOISE * (standard.log_prob(a).exp() - standard.log_prob(b).exp()) / mass
    found = box.posterior(EDGE).sample(20_000).mean(0)
    torch.testing.assert_close(found, mean, atol=0.04, rtol=0)


def test_the_density_is_that_of_the_draws_on_a_simplex_and_a_half_line() -> None:
    prior = Prior({"share": Dirichlet(torch.ones(3)), "rate": Exponential(1.0)})
    theta = prior.sample(200)
    posterior = fit(Simulations(theta, theta + 0.2), prior, settings=SHORT).posterior(
        [0.3, 0.4, 0.9, 1.0]
    )
    draws = posterior.sample(4000)
    assert prior.contains(draws).all()
    # E_q[p / q] = 1 for any density p with the same support.
    other = prior.log_prob(draws) - posterior.log_prob(draws)
    weights = other.exp()
    assert float(weights.mean()) == pytest.approx(1, abs=5 * float(weights.std()) / 4000**0.5)


def test_one_parameter_and_one_summary() -> None:
    prior = Prior({"mu": Normal(0.0, 1.0)})
    mu = prior.sample(1000)
    simulations = Simulations(mu, mu + known.noise(1000, 1, 0))
    posterior = fit(simulations, prior, settings=Settings(steps=200, ensemble=1)).posterior([1.0])
    summary = posterior.summary()
    assert list(summary.index) == ["mu"]
    assert posterior.summary(var_names=["mu"]).shape == summary.shape
    with pytest.raises(ValueError, match="each of var_names must be one of 'mu', got 'sigma'"):
        posterior.summary(var_names=["sigma"])
    assert summary.loc["mu", "mean"] == pytest.approx(0.5, abs=0.1)
    assert summary.loc["mu", "sd"] == pytest.approx(0.5**0.5, abs=0.1)
    assert list(posterior.to_pandas(7)) == ["mu"]
    assert posterior.draws(7)["mu"].shape == (7,)


def test_a_likelihood_brings_weights_a_verdict_and_the_evidence(linear: NPE) -> None:
    weighted = linear.posterior(X).weighted(_log_likelihood)
    verdict = weighted.diagnose()
    assert verdict.level == "good"
    evidence = float(known.gaussian_evidence(X))
    assert verdict.log_evidence == pytest.approx(evidence, abs=4 * verdict.log_evidence_error)
    exact = known.gaussian_posterior(X)
    drawn = torch.as_tensor(weighted.draws(4000)["theta"])
    error = exact.variance.sqrt() / 4000**0.5
    assert bool(((drawn.mean(0) - exact.mean).abs() < 5 * error).all())


def test_a_likelihood_repairs_an_ensemble(box: NPE) -> None:
    x = torch.tensor([EDGE["x"], EDGE["y"]], dtype=torch.float64)

    def log_likelihood(theta: Tensor) -> Tensor:
        return Normal(theta, known.BOXED_NOISE).log_prob(x).sum(-1)

    verdict = box.posterior(EDGE).weighted(log_likelihood).diagnose()
    normal = Normal(x, known.BOXED_NOISE)
    mass = normal.cdf(known.HIGH.double()) - normal.cdf(known.LOW.double())
    evidence = float((mass.log() - (known.HIGH - known.LOW).double().log()).sum())
    assert verdict.log_evidence == pytest.approx(evidence, abs=0.05)


def _log_likelihood(theta: Tensor) -> Tensor:
    return Normal(theta @ known.A.T, known.NOISE).log_prob(X).sum(-1)


def test_refining_is_exact(linear: NPE) -> None:
    refined = linear.posterior(X).weighted(_log_likelihood).refine(400, warmup=100)
    drawn = torch.as_tensor(np.asarray(refined.draws()["theta"]))
    exact = known.gaussian_posterior(X)
    torch.testing.assert_close(drawn.mean(0), exact.mean, atol=0.1, rtol=0)


def test_data_far_from_the_simulations_are_named(box: NPE) -> None:
    with pytest.warns(UserWarning, match="x = 9, not in .* The posterior is an extrapolation"):
        posterior = box.posterior({"x": 9.0, "y": 11.0})
    assert posterior.distance.p_value < 1e-3
    assert "far from the simulations" in str(posterior.distance)


def test_data_far_away_are_named_by_few_simulations_too() -> None:
    found = fit(known.boxed(50, 0), known.boxed_prior(), settings=SHORT)
    with pytest.warns(UserWarning, match="times the largest among the simulations"):
        found.posterior([1e6, 11.0])
    assert not found.distance([0.5, 11.0]).is_far


def test_simulated_data_are_rarely_called_far(box: NPE) -> None:
    far = [box.distance(x).p_value < 0.2 for x in known.boxed(300, 5).data]
    assert np.mean(far) == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 300))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("perceptron", (3,)),
        ("lstm", (6, 2)),
        ("mean", (5, 1)),
        ("attention", (5, 2)),
        ("convolution", (1, 9, 6)),
    ],
)
def test_embeddings_are_trained_with_the_flow(name: str, shape: tuple[int, ...]) -> None:
    prior = Prior({"mu": Normal(0.0, 1.0)})
    mu = prior.sample(400)
    size = math.prod(shape)
    x = (mu + known.noise(400, size, 0)).reshape(400, *shape)
    posterior = fit(
        Simulations(mu, x),
        prior,
        embedding=name,
        settings=Settings("gaussian", steps=200, ensemble=1),
    ).posterior(torch.ones(shape))
    exact = Normal(size / (size + 1), (size + 1) ** -0.5)
    draws = posterior.sample(2000)
    assert float(draws.mean()) == pytest.approx(float(exact.mean), abs=0.35)
    assert float(draws.std()) < 0.8  # of the prior: 1


def test_a_set_has_no_order() -> None:
    prior = Prior({"mu": Normal(0.0, 1.0)})
    mu = prior.sample(40)
    x = mu[:, :, None] + known.noise(40, 5, 0)[:, :, None]
    for name in ("mean", "attention"):
        found = fit(Simulations(mu, x), prior, embedding=name, settings=SHORT)
        one, two = (found.posterior(each).log_prob([[0.3]]) for each in (x[0], x[0].flip(0)))
        torch.testing.assert_close(one, two)


def test_a_module_is_copied_and_trained(tmp_path: Path) -> None:
    module = nn.Linear(2, 4)
    before = module.weight.detach().clone()
    found = fit(known.boxed(60, 0), known.boxed_prior(), embedding=module, settings=SHORT)
    assert isinstance(found, NPE)
    assert torch.equal(module.weight, before)
    inner: Any = found.learned.networks[0].embedding
    assert not torch.equal(inner.weight, before)
    found.save(tmp_path)
    again = NPE.load(tmp_path, known.boxed_prior(), embedding=nn.Linear(2, 4))
    assert torch.equal(again.posterior(EDGE).sample(5), found.posterior(EDGE).sample(5))
    with pytest.raises(ValueError, match="embedding must be given: it was fitted with a module"):
        NPE.load(tmp_path, known.boxed_prior())


def test_saved_and_loaded(box: NPE, tmp_path: Path) -> None:
    box.save(tmp_path)
    again = NPE.load(tmp_path, known.boxed_prior())
    one, two = box.posterior(EDGE), again.posterior(EDGE)
    assert torch.equal(one.sample(9), two.sample(9))
    assert one.distance == two.distance
    with pytest.raises(ValueError, match="it was fitted with the parameters a, b, but the prior"):
        NPE.load(tmp_path, known.gaussian_prior())
    wider = Prior({"a": Uniform(0.0, 1.0), "b": Uniform(10.0, 100.0)})
    with pytest.raises(ValueError, match="it was fitted with a prior that has other bounds"):
        NPE.load(tmp_path, wider)


def _with(**columns: Any) -> Simulations:
    some = known.boxed(20, 0)
    data = some.data.clone()
    for name, value in columns.items():
        data[:, some.summaries.index(name)] = value
    return Simulations(some.parameters, data, some.summaries)


def _parts() -> tuple[Tensor, Tensor]:
    some = known.boxed(20, 0)
    return some.parameters, some.data


def _flat() -> Simulations:
    some = known.boxed(20, 0)
    some.parameters[:, 1] = 11.0
    return some


def _half_line() -> Simulations:
    some = known.boxed(20, 0)
    some.parameters[5, 0] = 0.0
    return some


def _broken() -> Simulations:
    some = known.boxed(20, 0)
    some.data[3, 0], some.data[17, 1] = math.nan, math.inf
    return some


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"simulations": 3}, TypeError, "simulations must be Simulations, got int"),
        ({"settings": "fast"}, TypeError, "settings must be Settings, got str"),
        ({"method": "abc"}, ValueError, "method must be one of 'nle', 'npe', got 'abc'"),
        ({"simulations": known.boxed(9, 0)}, ValueError, "simulations must be at least 10, got 9"),
        (
            {"prior": {"a": Uniform(0.0, 1.0)}},
            ValueError,
            "simulations must have a column for each number of the prior, a, got 2",
        ),
        (
            {"simulations": _broken()},
            ValueError,
            "finite, got NaN or infinity in 2 rows, 3, 17: fix the simulator, or drop these",
        ),
        (
            {"prior": {"a": Uniform(0.0, 1.0), "b": Gamma(1.0, 1.0)}, "simulations": None},
            ValueError,
            "inside the prior, got some outside in row 0: the first are a = -1, b",
        ),
        (
            {"simulations": _flat()},
            ValueError,
            "parameters must vary, got constant in all simulations: b",
        ),
        (
            {"prior": {"a": HalfNormal(1.0), "b": Gamma(1.0, 1.0)}, "simulations": _half_line()},
            ValueError,
            "must not lie on the bound of a half line, got some in row 5: the first are a = 0, b",
        ),
        (
            {"simulations": Simulations(*_parts(), names=("b", "a"))},
            ValueError,
            "simulations have the parameters b, a, but the prior has a, b: give both in the same",
        ),
        (
            {"simulations": _with(x=3.0)},
            ValueError,
            "summaries must vary, got constant in all simulations: x",
        ),
        (
            {"simulations": _with(x=_with().data[:, 1])},
            ValueError,
            "summaries must differ, but y is equal to x in all simulations",
        ),
        (
            {"simulations": Simulations(known.boxed(20, 0).parameters, torch.randn(20, 3, 2))},
            ValueError,
            r"data of shape \(3, 2\) need an embedding: one of perceptron",
        ),
        (
            {"embedding": "lstm"},
            ValueError,
            r"the embedding 'lstm' takes data of shape \(steps, channels\), got \(2,\)",
        ),
        ({"embedding": "tree"}, ValueError, "embedding must be one of"),
        (
            {"embedding": nn.Flatten(0)},
            ValueError,
            r"embedding must return shape \(rows, features\) for 2 rows",
        ),
        ({"method": "nle", "embedding": "mean"}, ValueError, "embedding must be None with method"),
        ({"settings": Settings("tree", ensemble=1)}, ValueError, "name must be one of"),
    ],
)
def test_bad_input_is_named(options: dict[str, Any], error: type[Exception], match: str) -> None:
    given: dict[str, Any] = {"simulations": known.boxed(20, 0), "prior": known.boxed_prior()}
    given |= options
    if given["simulations"] is None:
        some = known.boxed(20, 0)
        some.parameters[0, 0] = -1.0
        given["simulations"] = some
    with pytest.raises(error, match=match):
        fit(given.pop("simulations"), given.pop("prior"), **given)


def test_several_observations_are_refused(box: NPE) -> None:
    with pytest.raises(ValueError, match="observed must be one observation, got 2"):
        box.posterior([[0.5, 11.0], [0.6, 11.0]])


def test_without_a_likelihood_there_are_no_weights(box: NPE) -> None:
    with pytest.raises(ValueError, match="log_likelihood must be given: this posterior"):
        box.posterior(EDGE).weighted()


def test_a_fit_resumes(tmp_path: Path) -> None:
    def stop(step: int, line: str) -> None:
        if step == 60:
            raise KeyboardInterrupt

    settings = Settings("maf", transforms=1, hidden_features=(8,), steps=100, ensemble=1)
    given = known.boxed(60, 0), known.boxed_prior()
    whole = fit(*given, settings=settings)
    with pytest.raises(KeyboardInterrupt):
        fit(*given, settings=settings, report=stop, directory=tmp_path)
    resumed: list[int] = []
    again = fit(
        *given,
        settings=settings,
        report=lambda step, line: resumed.append(step),
        directory=tmp_path,
    )
    assert 0 < resumed[0] < 60
    assert torch.equal(whole.posterior(EDGE).sample(5), again.posterior(EDGE).sample(5))
    with pytest.raises(ValueError, match="checkpoints of another training, with other data"):
        fit(known.boxed(60, 1), given[1], settings=settings, directory=tmp_path)


def test_no_warning_for_ordinary_data(box: NPE) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        box.posterior({"x": 0.5, "y": 11.0})


def test_few_simulations_are_learned_by_several_flows() -> None:
    assert [Settings().members(n) for n in (100, 19_999, 20_000)] == [3, 3, 1]
    assert Settings(ensemble=2).members(100) == 2
    assert [Settings().decay(n) for n in (20, 100, 5000)] == [1.0, 0.5, 0.01]
    assert [Settings("gaussian").decay(100), Settings(weight_decay=0.2).decay(100)] == [0.0, 0.2]
    for wrong in (-0.1, math.inf):
        with pytest.raises(ValueError, match="weight_decay must be 0 or more and finite, got"):
            Settings(weight_decay=wrong)
    with pytest.raises(ValueError, match="ensemble must be at least 1"):
        Settings(ensemble=0)


def test_a_mixture_is_the_mean_of_its_densities(box: NPE) -> None:
    posterior = box.posterior(EDGE)
    theta = known.boxed_prior().sample(5)
    parts = [NPE(replace(box.learned, networks=[each])) for each in box.learned.networks]
    each = torch.stack([part.posterior(EDGE).log_prob(theta) for part in parts])
    expected = each.logsumexp(0) - math.log(2)
    torch.testing.assert_close(posterior.log_prob(theta), expected)
    x = torch.tensor([[EDGE["x"], EDGE["y"]]] * 5)
    torch.testing.assert_close(box.log_prob(theta, x), expected, atol=1e-5, rtol=1e-5)


def test_embeddings_with_noise_of_their_own_repeat() -> None:
    module = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4))
    given = known.boxed(60, 0), known.boxed_prior()
    one, two = (fit(*given, embedding=module, settings=SHORT) for _ in "12")
    assert torch.equal(one.posterior(EDGE).sample(9), two.posterior(EDGE).sample(9))
    assert int(module[1].num_batches_tracked) == 0  # pyright: ignore[reportArgumentType]


def test_bounds_of_python_numbers_are_inside() -> None:
    prior = Prior({"a": Uniform(0.1, 0.7)})
    assert prior.contains([[0.1], [0.7], [0.4], [0.0999], [0.7001]]).tolist() == [
        *(True, True, True, False, False)
    ]
    assert prior.log_prob([[0.1], [0.4]]).isfinite().all()


def test_gradients_of_data_do_not_hinder_weights(linear: NPE) -> None:
    weighted = linear.posterior(X.clone().requires_grad_()).weighted(_log_likelihood)
    assert weighted.diagnose().level == "good"


def test_the_number_of_nearest_is_checked(linear: NPE) -> None:
    with pytest.raises(ValueError, match="count must be at least 1, got -3"):
        linear.nearest(known.gaussian(30, 4), X, -3)


def test_each_row_of_data_has_its_parameters(linear: NPE) -> None:
    theta = known.gaussian_prior().sample(3)
    for rows in (X[None], torch.stack([X, X])):
        with pytest.raises(ValueError, match=r"parameters must have shape .* a row for each that"):
            linear.log_prob(theta, rows)


def test_a_damaged_file_is_named(box: NPE, tmp_path: Path) -> None:
    box.save(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["config"]["sizes"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="does not fit an NPE: it has no networks"):
        NPE.load(tmp_path, known.boxed_prior())
