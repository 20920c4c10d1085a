from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from invflow import IAF
from invflow.flows import to_pyro
from tests.helpers import FLOWS, assert_close, context_for, flow, perturbed, randn

pyro = pytest.importorskip("pyro")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


def test_sample_and_its_density() -> None:
    flow = FLOWS["iaf-3-gated-context"]()
    q = flow(context_for(flow, 5))

    def model() -> Tensor:
        with pyro.plate("batch", 5):
            return pyro.sample("z", to_pyro(q))

    trace = pyro.poutine.trace(model).get_trace()
    trace.compute_log_prob()
    site = trace.nodes["z"]
    assert site["value"].shape == (5, 3)
    assert_close(site["log_prob"], q.log_prob(site["value"]))


def test_is_the_same_distribution() -> None:
    flow = FLOWS["iaf-3-gated-context"]()
    q = flow(context_for(flow, 5))
    p = to_pyro(q)
    assert (p.batch_shape, p.event_shape, p.has_rsample) == ((5,), (3,), True)
    x = q.sample((4,))
    assert_close(p.log_prob(x), q.log_prob(x), 1e-14)
    assert p.expand((2, 5))().shape == (2, 5, 3)
    assert p.to_event(1).event_shape == (5, 3)
    assert p.mask(torch.zeros(5).bool()).log_prob(x).eq(0).all()


def test_expands_in_a_plate() -> None:
    q = to_pyro(FLOWS["iaf-2"]()())
    with pyro.plate("outer", 4, dim=-2), pyro.plate("inner", 3, dim=-1):
        z = pyro.sample("z", q)
    assert z.shape == (4, 3, 2)
    assert z.reshape(-1, 2).unique(dim=0).shape == (12, 2)


@pytest.mark.parametrize("vectorize", [False, True], ids=["looped", "vectorised"])
def test_svi_learns_a_posterior(vectorize: bool) -> None:
    """A conjugate pair: z ~ N(0, 1), data = z + N(0, 1); the posterior is N(data / 2, 1/2)."""
    data = torch.tensor([1.0, -2.0], dtype=torch.float64)
    guide_flow = flow(IAF, 2, 0, 2, (8,))()

    def model() -> None:
        normal = pyro.distributions.Normal(torch.zeros_like(data), 1.0).to_event(1)
        z = pyro.sample("z", normal)
        pyro.sample("data", pyro.distributions.Normal(z, 1.0).to_event(1), obs=data)

    def guide() -> None:
        pyro.module("flow", guide_flow)
        pyro.sample("z", to_pyro(guide_flow()))

    def elbo(particles: int, vectorize: bool) -> Any:
        return pyro.infer.Trace_ELBO(
            num_particles=particles, vectorize_particles=vectorize, max_plate_nesting=0
        )

    exact = -float(pyro.distributions.Normal(0.0, 2**0.5).log_prob(data).sum())
    measured = elbo(500, True)
    assert measured.loss(model, guide) > exact + 0.3
    particles = elbo(16 if vectorize else 2, vectorize)
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.03}), particles)
    for _ in range(200):
        svi.step()
    assert measured.loss(model, guide) == pytest.approx(exact, abs=0.1)
    assert_close(guide_flow().estimate_mean(2000), data / 2, 0.15)


def test_amortised_guide_in_a_plate_with_vectorised_particles() -> None:
    guide_flow = FLOWS["iaf-3-gated-context"]()
    context = randn(6, 2)

    def model() -> None:
        with pyro.plate("data", 6):
            z = pyro.sample("z", pyro.distributions.Normal(context.new_zeros(3), 1).to_event(1))
            assert z.shape[-2:] == (6, 3)

    def guide() -> None:
        pyro.module("flow", guide_flow)
        with pyro.plate("data", 6):
            pyro.sample("z", to_pyro(guide_flow(context)))

    elbo = pyro.infer.Trace_ELBO(num_particles=4, vectorize_particles=True, max_plate_nesting=1)
    before = [parameter.clone() for parameter in guide_flow.parameters()]
    pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), elbo).step()
    changed = [
        not torch.equal(old, new) for old, new in zip(before, guide_flow.parameters(), strict=True)
    ]
    assert all(changed)


def test_only_flows_become_pyro_distributions() -> None:
    with pytest.raises(TypeError, match="distribution must be a FlowDistribution, got Normal"):
        to_pyro(torch.distributions.Normal(0.0, 1.0))


def test_pickled() -> None:
    q = to_pyro(perturbed(IAF(features=2))())
    twin = pickle.loads(pickle.dumps(q))
    assert_close(twin.log_prob(randn(3, 2)), q.log_prob(randn(3, 2)), 1e-12)
    assert type(twin) is type(q)
