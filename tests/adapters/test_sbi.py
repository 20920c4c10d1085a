from __future__ import annotations

import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import LogNormal, Normal, Uniform

import invflow
from invflow.adapters.sbi import likelihood_nn, posterior_nn
from tests.helpers import assert_close, perturbed, randn

inference = pytest.importorskip("sbi.inference", reason="needs sbi")
BoxUniform = pytest.importorskip("sbi.utils").BoxUniform

# What sbi says of short training and of itself.
pytestmark = pytest.mark.filterwarnings("default", "error:::invflow")

SMALL: dict[str, Any] = {"transforms": 2, "hidden_features": (16,)}
BOX = BoxUniform(-torch.ones(2), torch.ones(2))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # sbi writes logs where it runs


def simulated(number: int = 300, noise: float = 0.3) -> tuple[Tensor, Tensor]:
    theta = BOX.sample((number,))
    return theta, theta + noise * torch.randn(number, 2)


def trained(kind: Any, build: Any, theta: Tensor, x: Tensor, prior: Any = BOX, **how: Any) -> Any:
    """Return sbi's object after training."""
    found = kind(prior, density_estimator=build, show_progress_bars=False)
    found.append_simulations(theta, x).train(**{"max_num_epochs": 3, **how})
    return found


def test_standardises_as_sbi_does() -> None:
    theta, x = 100 + 5 * torch.randn(50, 3), -7 + 0.1 * torch.randn(50, 2)
    estimator = posterior_nn(identity)(theta, x)
    expected = Normal(theta.mean(0), theta.std(0)).log_prob(theta).sum(-1)
    assert_close(estimator.log_prob(theta, x)[0], expected, 1e-4)
    assert_close(estimator.embedding_net(x), (x - x.mean(0)) / x.std(0), 1e-5)


def identity(features: int, context: int) -> invflow.Flow:
    """Return a standard normal distribution."""
    flow = invflow.MAF(features, context, transforms=1, hidden_features=(4,))
    with torch.no_grad():
        for each in flow.parameters():
            each.zero_()
    return flow


def test_structured_data_have_one_scale() -> None:
    theta, x = torch.randn(50, 2), torch.linspace(1, 9, 4) + torch.randn(50, 4)
    estimator = likelihood_nn(identity, z_score_x="structured", z_score_theta="none")(theta, x)
    expected = Normal(x.mean(), x.std(1).mean()).log_prob(x).sum(-1)
    assert_close(estimator.log_prob(x, theta)[0], expected, 1e-4)
    assert estimator.embedding_net(theta) is theta


def test_the_posterior_is_found() -> None:
    """Uniform parameters far from the box's sides, plus noise: x is the mean, 0.3 the deviation."""
    theta, x = simulated(1000)
    build = posterior_nn("maf", transforms=2, hidden_features=(32,))
    posterior = trained(
        inference.NPE, build, theta, x, max_num_epochs=20, learning_rate=1e-2
    ).build_posterior()
    draws = posterior.sample((2000,), x=torch.zeros(1, 2), show_progress_bars=False)
    assert_close(draws.mean(0), torch.zeros(2), 0.06)
    assert_close(draws.std(0), torch.full((2,), 0.3), 0.05)
    many = posterior.sample_batched((7,), x=x[:3], show_progress_bars=False)
    assert many.shape == (7, 3, 2)


@pytest.mark.parametrize("flow", ["maf", "nsf", "iaf"])
@pytest.mark.parametrize("features", [1, 3])
def test_shapes_and_densities(flow: str, features: int) -> None:
    theta, x = randn(50, features), randn(50, 4, seed=1)
    estimator = perturbed(posterior_nn(flow, **SMALL)(theta, x))
    assert estimator.input_shape == (features,)
    assert estimator.condition_shape == (4,)
    draws, log_q = estimator.sample_and_log_prob((6,), x[:5])
    assert draws.shape == (6, 5, features)
    assert_close(estimator.log_prob(draws, x[:5]), log_q, 1e-7)
    assert_close(estimator.loss(theta, x), -estimator.log_prob(theta, x)[0])
    noise = estimator.inverse_transform(theta, x)
    assert noise.shape == theta.shape


def test_double_precision_is_kept() -> None:
    theta, x = torch.randn(50, 2).double(), torch.randn(50, 3).double()
    net = nn.Linear(3, 2)
    estimator = posterior_nn("maf", embedding_net=net, **SMALL)(theta, x)
    draws, log_q = estimator.sample_and_log_prob((6,), x[:1])
    assert draws.dtype == log_q.dtype == torch.float64
    assert_close(estimator.log_prob(draws, x[:1]), log_q)
    assert net.weight.dtype == torch.float32


def test_the_embedding_is_trained_and_each_estimator_has_its_own() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    before = deepcopy(net.state_dict())
    theta, x = torch.randn(60, 2), torch.randn(60, 2, 3)
    build = posterior_nn("maf", embedding_net=net, **SMALL)
    first, second = (trained(inference.NPE, build, theta, x)._neural_net for _ in range(2))
    weights = [each.embedding_net[1][1].weight for each in (first, second)]
    assert not torch.equal(weights[0], before["1.weight"])
    assert not torch.equal(*weights)
    assert torch.equal(net[1].weight, before["1.weight"])
    assert first.sample((4,), condition=x[:5]).shape == (4, 5, 2)


def test_gradients_reach_the_context_through_draws() -> None:
    theta, x = torch.randn(50, 2), torch.randn(50, 3)
    estimator = posterior_nn("maf", embedding_net=nn.Linear(3, 2), **SMALL)(theta, x)
    observed = x[:1].requires_grad_()
    draws, log_q = estimator.sample_and_log_prob((6,), observed)
    (draws.square().sum() + log_q.sum()).backward()
    assert observed.grad is not None
    assert observed.grad.abs().sum() > 0
    assert estimator.embedding_net[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("prior", [BOX, None], ids=["box", "positive"])
def test_no_mass_is_outside_the_prior(prior: Any) -> None:
    if prior is None:
        utils = pytest.importorskip("sbi.utils.user_input_checks_utils")
        sides = [LogNormal(torch.zeros(1), torch.ones(1)), Uniform(torch.zeros(1), torch.ones(1))]
        prior = utils.MultipleIndependent(sides)
    theta = prior.sample((200,))
    x = theta + 0.1 * torch.randn(200, 2)
    build = posterior_nn("nsf", z_score_theta="transform_to_unconstrained", x_dist=prior, **SMALL)
    estimator = build(theta, x)
    draws, log_q = estimator.sample_and_log_prob((500,), x[:4])
    assert prior.support.check(draws).all()
    assert_close(estimator.log_prob(draws, x[:4]), log_q, 1e-2)
    # Also of what sbi makes of it: nothing is rejected.
    posterior = trained(inference.NPE, build, theta, x, prior).build_posterior()
    kept = posterior.leakage_correction(x[:1], num_rejection_samples=500, show_progress_bars=False)
    assert float(kept) == 1


def test_the_density_in_the_box_integrates_to_one() -> None:
    box = BoxUniform(torch.tensor([-2.0]), torch.tensor([1.0]))
    theta, x = box.sample((50,)), torch.randn(50, 1)
    build = posterior_nn("maf", z_score_theta="transform_to_unconstrained", x_dist=box, **SMALL)
    estimator = perturbed(build(theta, x)).float()
    points = -2 + 3 * (torch.arange(20_000) + 0.5) / 20_000
    density = estimator.log_prob(points[:, None, None], x[:1]).exp()
    assert density.mean().item() * 3 == pytest.approx(1, abs=1e-3)


def test_likelihoods_are_learned_and_sampled() -> None:
    theta, x = simulated(1000)
    found = trained(
        inference.NLE,
        likelihood_nn("maf", **SMALL),
        theta,
        x,
        max_num_epochs=20,
        learning_rate=5e-3,
    )
    parameters = pytest.importorskip("sbi.inference.posteriors.posterior_parameters")
    chains = parameters.MCMCPosteriorParameters(num_chains=20, warmup_steps=30)
    posterior = found.build_posterior(posterior_parameters=chains)
    draws = posterior.sample((200,), x=torch.zeros(1, 2), show_progress_bars=False)
    assert_close(draws.mean(0), torch.zeros(2), 0.15)
    assert BOX.support.check(draws).all()


def test_an_ensemble_mixes_posteriors() -> None:
    theta, x = simulated()
    build = posterior_nn("maf", **SMALL)
    members = [trained(inference.NPE, build, theta, x).build_posterior() for _ in range(2)]
    ensemble = pytest.importorskip("sbi.inference.posteriors").EnsemblePosterior(members)
    assert ensemble.sample((5,), x=x[:1], show_progress_bars=False).shape == (5, 2)


def test_rounds_go_on() -> None:
    theta, x = simulated()
    found = inference.NPE(BOX, density_estimator=posterior_nn(**SMALL), show_progress_bars=False)
    for proposal in (None, "posterior"):
        if proposal:
            proposal = found.build_posterior().set_default_x(x[:1])
            theta = proposal.sample((100,), show_progress_bars=False)
            x = theta + 0.3 * torch.randn(100, 2)
        found.append_simulations(theta, x, proposal=proposal).train(max_num_epochs=2)
    draws = found.build_posterior().sample((5,), x=x[:1], show_progress_bars=False)
    assert draws.shape == (5, 2)


def test_posteriors_are_pickled_and_written(tmp_path: Path) -> None:
    theta, x = simulated()
    found = trained(inference.NPE, posterior_nn("maf", **SMALL), theta, x)
    posterior = found.build_posterior()
    torch.save(posterior, tmp_path / "posterior.pt")
    again = torch.load(tmp_path / "posterior.pt", weights_only=False)
    for other in (again, pickle.loads(pickle.dumps(found)).build_posterior()):
        expected = posterior.log_prob(theta[:5], x=x[:1], norm_posterior=False)
        assert_close(other.log_prob(theta[:5], x=x[:1], norm_posterior=False), expected)
    estimator = found._neural_net
    fresh = posterior_nn("maf", **SMALL)(theta[:100], x[:100])
    fresh.load_state_dict(estimator.state_dict())
    assert_close(fresh.log_prob(theta, x), estimator.log_prob(theta, x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flow": "mafs"}, "mafs"),
        ({"z_score_theta": "zscore"}, "z_score_theta must be one of independent, structured"),
        ({"z_score_x": "transform_to_unconstrained"}, "z_score_x must be one of independent, str"),
        ({"z_score_theta": "transform_to_unconstrained"}, "x_dist must be a torch distribution"),
        ({"x_dist": BOX}, "x_dist is used only with z_score_theta='transform_to_unconstrained'"),
        ({"embedding_net": "cnn"}, "embedding_net must be a torch module, got str"),
        ({"flow": invflow.MAF(2)}, "flow must be the name of a flow, or a function .* got a MAF"),
        ({"flow": 3}, "flow must be the name of a flow, or a function .* got a int"),
        ({"num_transforms": 3}, "num_transforms"),
    ],
)
def test_wrong_arguments_are_named_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        posterior_nn(**arguments)


def test_options_are_checked_without_drawing_random_numbers() -> None:
    before = torch.get_rng_state()
    posterior_nn("maf")
    assert torch.equal(torch.get_rng_state(), before)


def test_looking_at_an_embedding_does_not_train_it() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout())
    estimator = posterior_nn("maf", embedding_net=net, z_score_x="none", **SMALL)(
        torch.randn(20, 2), torch.randn(20, 3)
    )
    own = estimator.embedding_net
    assert own[1].num_batches_tracked == 0
    assert own.training


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(number, D\), got \(9, 2, 2\)"):
        likelihood_nn()(torch.randn(9, 2), torch.randn(9, 2, 2))
    with pytest.raises(ValueError, match=r"must have shape \(number, D\), got \(9,\)"):
        posterior_nn()(torch.randn(9), torch.randn(9, 2))
    build = posterior_nn(z_score_theta="transform_to_unconstrained", x_dist=BOX)
    with pytest.raises(ValueError, match=r"vectors of size 3, got one with event_shape \(2,\)"):
        build(torch.rand(9, 3), torch.randn(9, 2))
    with pytest.raises(ValueError, match="give an embedding_net"):
        posterior_nn()(torch.randn(9, 2), torch.randn(9, 2, 2))
