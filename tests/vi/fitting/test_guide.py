from __future__ import annotations

import copy
import io
import math
import pickle
from typing import Any

import pytest
import torch

from invflow.vi.fitting.guide import AutoIAF
from tests.vi.targets.test_pyro import SIGMA, Y, schools

pyro = pytest.importorskip("pyro", reason="needs Pyro")
dist = pyro.distributions
infer = pytest.importorskip("pyro.infer")
reparam = pytest.importorskip("pyro.infer.reparam")


@pytest.fixture(autouse=True)
def _clean() -> Any:
    pyro.clear_param_store()
    state = torch.get_rng_state()
    pyro.set_rng_seed(0)
    yield
    torch.set_rng_state(state)
    pyro.clear_param_store()


def _fit(model: Any, guide: Any, steps: int, *args: Any) -> list[float]:
    loss = infer.Trace_ELBO(num_particles=16, vectorize_particles=True, max_plate_nesting=1)
    svi = infer.SVI(model, guide, pyro.optim.Adam({"lr": 5e-3}), loss)
    return [svi.step(*args) for _ in range(steps)]


def test_fits_a_correlated_normal() -> None:
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]])

    def model() -> None:
        pyro.sample("z", dist.MultivariateNormal(torch.tensor([1.0, -2.0]), covariance))

    guide = AutoIAF(model, transforms=2, hidden_features=(16,), init_scale=0.5)
    losses = _fit(model, guide, 1000)
    assert abs(sum(losses[-100:]) / 100) < 0.05
    with torch.no_grad():
        z = guide.get_posterior().sample((4000,))
    assert (z.mean(0) - torch.tensor([1.0, -2.0])).abs().max() < 0.1
    assert (torch.cov(z.T) - covariance).abs().max() < 0.15


def test_eight_schools_with_named_draws() -> None:
    guide = AutoIAF(schools, hidden_features=(32, 32))
    losses = _fit(schools, guide, 150, Y.float(), SIGMA.float())
    assert sum(losses[-30:]) < sum(losses[:30])
    assert all(map(math.isfinite, losses))
    draws = guide(Y.float(), SIGMA.float())
    assert draws["tau"] > 0
    assert draws["t"].shape == (8,)
    predictive = infer.Predictive(schools, guide=guide, num_samples=7)
    assert predictive(Y.float(), SIGMA.float())["theta"].shape == (7, 8)


def test_state_is_kept_in_the_parameter_store() -> None:
    guide = AutoIAF(schools)
    _fit(schools, guide, 2, Y.float(), SIGMA.float())
    assert any("flow" in name for name in pyro.get_param_store())


def test_bad_scale() -> None:
    with pytest.raises(ValueError, match="init_scale must be positive, got 0"):
        AutoIAF(schools, init_scale=0)


def _fixed() -> None:
    x = pyro.sample("x", dist.Delta(torch.tensor(1.0)))
    pyro.sample("m", dist.Normal(x, 1.0))


def _missing() -> None:
    m = pyro.sample("m", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", 2):
        seen = torch.tensor([True, False])
        pyro.sample("y", dist.Normal(m, 1.0), obs=torch.zeros(2), obs_mask=seen)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (_fixed, "'x' with Delta: make it pyro.deterministic"),
        (_missing, "'y_unobserved', of which obs_mask excludes some entries"),
    ],
)
def test_sites_without_an_integral(model: Any, message: str) -> None:
    """The bound of either would rise without end."""
    guide = AutoIAF(model)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            guide()


def _positive() -> None:
    pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("rows", 2):
        pyro.sample("m", dist.Normal(0.0, 1.0))


def _below() -> None:
    a = pyro.sample("a", dist.Exponential(1.0))
    with pyro.plate("rows", 2):
        b = pyro.sample("b", dist.Uniform(0.0, a))
    pyro.sample("y", dist.Normal(b.sum(), 0.5), obs=torch.tensor(1.5))


def _turning() -> None:
    pyro.sample("t", dist.VonMises(3.0, 2.0))


SMALL: dict[str, Any] = {"transforms": 2, "hidden_features": (8,)}


@pytest.mark.parametrize("model", [_positive, _below, _turning])
def test_copied_pickled_and_saved(model: Any) -> None:
    guide = AutoIAF(model, **SMALL)
    before = guide()
    twins = [copy.deepcopy(guide), pickle.loads(pickle.dumps(guide))]
    stream = io.BytesIO()
    torch.save(guide, stream)
    stream.seek(0)
    twins.append(torch.load(stream, weights_only=False))
    again = AutoIAF(model, **{**SMALL, "seed": 3})
    again()
    again.load_state_dict(guide.state_dict())
    for twin in [*twins, again]:
        assert type(twin) is AutoIAF
        assert all(p is not q for p, q in zip(twin.parameters(), guide.parameters(), strict=True))
        for name, value in guide.quantiles([0.1, 0.9]).items():
            assert value.shape == (2, *before[name].shape)
            if twin is not again:  # whose own seed its draws are of
                assert torch.equal(twin.quantiles([0.1, 0.9])[name], value)
        pyro.set_rng_seed(5)
        mine = guide()
        pyro.set_rng_seed(5)
        for name, value in twin().items():
            assert torch.equal(value, mine[name])
    assert guide.model is not None  # copying takes nothing away


def test_a_guide_of_a_local_model_says_what_it_lacks() -> None:
    def model() -> None:
        _below()

    guide = AutoIAF(model, **SMALL)
    guide()
    assert copy.deepcopy(guide)()["b"].shape == (2,)
    with pytest.raises(RuntimeError, match="load the state_dict"):
        pickle.loads(pickle.dumps(guide))()


def test_supports_that_depend_on_other_sites() -> None:
    guide = AutoIAF(_below, init_scale=1.0, **SMALL)
    for values in [guide(), guide.median(), *(guide() for _ in range(20))]:
        assert (values["b"] > 0).all()
        assert (values["b"] < values["a"]).all()
    losses = _fit(_below, guide, 5)
    assert all(map(math.isfinite, losses))


def test_the_evidence_bound_where_supports_depend_on_other_sites() -> None:
    """The mean weight of the guide's draws is the evidence, whatever the guide."""

    def model() -> None:
        a = pyro.sample("a", dist.Exponential(1.0))
        b = pyro.sample("b", dist.Uniform(0.0, a))
        pyro.sample("y", dist.Normal(b, 0.5), obs=torch.tensor(1.5))

    guide = AutoIAF(model, init_scale=1.5, **SMALL)
    guide()
    pyro.set_rng_seed(1)
    with torch.no_grad(), pyro.plate("particles", 20_000, dim=-1):
        drawn = pyro.poutine.trace(guide).get_trace()
        seen = pyro.poutine.trace(pyro.poutine.replay(model, drawn)).get_trace()
    log_w = torch.zeros(20_000)
    for trace, sign in ((seen, 1), (drawn, -1)):
        trace.compute_log_prob()
        for _, site in trace.iter_stochastic_nodes():
            log_w += sign * site["log_prob"]
        for name in trace.observation_nodes:
            log_w += sign * trace.nodes[name]["log_prob"]
    assert abs(float(log_w.detach().logsumexp(0)) - math.log(20_000) + 1.940) < 0.05


def test_angles_are_on_the_circle() -> None:
    """The bound of a guide over one turn is at most log Z = 0; over the real line it has no end."""
    guide = AutoIAF(_turning, init_scale=1.0, transforms=1, hidden_features=())
    losses = _fit(_turning, guide, 150)
    assert -0.05 < sum(losses[-50:]) / 50 < 0.2
    median = guide.median()["t"]
    assert float(torch.cos(median - 3.0)) > 0.9


def test_neutra_end_to_end() -> None:
    def model() -> None:
        s = pyro.sample("s", dist.HalfNormal(1.0))
        pyro.sample("m", dist.Normal(0.0, s + 0.5))
        pyro.sample("y", dist.Normal(s, 0.2), obs=torch.tensor(1.0))

    guide = AutoIAF(model, init_scale=0.5, transforms=1, hidden_features=(4,))
    guide()
    neutra = reparam.NeuTraReparam(guide)
    warped = pyro.poutine.reparam(model, config=lambda _: neutra)
    chain = infer.MCMC(
        infer.NUTS(warped, max_tree_depth=4), num_samples=120, warmup_steps=60, disable_progbar=True
    )
    chain.run()
    latent = chain.get_samples()["s_shared_latent"]
    draws = neutra.transform_sample(latent)
    assert draws["s"].shape == draws["m"].shape == (120,)
    assert abs(float(draws["s"].detach().mean()) - 0.96) < 0.1  # N(1, 0.2) times a half-normal


def test_a_cleared_parameter_store_changes_nothing() -> None:
    guide = AutoIAF(_positive, **SMALL)
    _fit(_positive, guide, 2)
    before = {name: value.clone() for name, value in guide.state_dict().items()}
    pyro.clear_param_store()
    guide()
    assert all(torch.equal(value, before[name]) for name, value in guide.state_dict().items())
