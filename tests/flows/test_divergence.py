"""KL divergences, in closed form and by Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from invflow import IAF, MAF, Flow, Gaussian
from invflow.flows import FlowMixture, estimate_kl
from invflow.transforms import Compose, Elementwise, Householder, LULinear
from tests.helpers import assert_close, generator, perturbed, randn


def linear(features: int) -> Flow:
    parts = [LULinear(features), Householder(features, 1), Elementwise(features, context=2)]
    return perturbed(Flow(Compose(parts)))


GAUSSIANS: dict[str, Callable[[int], Flow]] = {
    "full": lambda features: perturbed(Gaussian(features, context=2)),
    "diagonal": lambda features: perturbed(Gaussian(features, context=2, kind="diagonal"), seed=2),
    "linear": linear,
}


def normal_of(q: Distribution) -> MultivariateNormal:
    """Return the same Gaussian as torch's, from its map of the unit vectors."""
    if isinstance(q, Independent):
        return MultivariateNormal(q.mean, torch.diag_embed(q.variance))
    if isinstance(q, MultivariateNormal):
        return q
    z = torch.cat([torch.zeros(1, q.event_shape[0]), torch.eye(q.event_shape[0])]).double()
    z = z.reshape(-1, *(1 for _ in q.batch_shape), q.event_shape[0])
    x, _ = q.transform(z.expand(-1, *q.batch_shape, -1), q.context)  # pyright: ignore
    columns = (x[1:] - x[0]).movedim(0, -1)
    return MultivariateNormal(x[0], columns @ columns.mT)


def others(features: int) -> dict[str, Distribution]:
    loc, scale = randn(3, features, seed=5), randn(3, features, seed=6).exp()
    factor = 0.3 * randn(features, features, seed=7).tril(-1) + torch.diag(scale[0])
    return {
        "independent": Independent(Normal(loc, scale), 1),
        "multivariate": MultivariateNormal(loc[0], scale_tril=factor),
    }


@pytest.mark.parametrize("features", [1, 3])
@pytest.mark.parametrize("name", GAUSSIANS)
def test_closed_forms_are_those_of_torch(name: str, features: int) -> None:
    p = GAUSSIANS[name](features)(randn(3, 2))
    flows = [build(features)(randn(2, 1, 2, seed=9)) for build in GAUSSIANS.values()]
    for q in (*flows, *others(features).values()):
        assert_close(kl_divergence(p, q), kl_divergence(normal_of(p), normal_of(q)))
        assert_close(kl_divergence(q, p), kl_divergence(normal_of(q), normal_of(p)))
    assert_close(kl_divergence(p, p), torch.zeros(3).double())


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_closed_forms_far_from_zero_in_single_precision(kind: str) -> None:
    exact = perturbed(Gaussian(3, kind=kind))
    with torch.no_grad():
        shift = Elementwise(3, "additive").double()
        next(shift.parameters()).fill_(1000.0)
        scale = Elementwise(3, "affine").double()
        next(scale.parameters()).view(3, 2)[:, 1] = -4.0
    far = Flow(Compose([exact.transform, scale, shift])).double()
    p, narrow = far(), Independent(Normal(torch.full((3,), 1000.0).double(), 0.05), 1)
    wanted = kl_divergence(p, narrow).detach()
    single = Independent(Normal(torch.full((3,), 1000.0), 0.05), 1)
    deviation = p.stddev.detach()
    found = far.float()()
    assert_close(kl_divergence(found, single).double().detach(), wanted, 5e-3)
    assert_close(found.stddev.double().detach(), deviation, 1e-6)


def test_diagonal_gaussians_need_no_matrix() -> None:
    features = 200_000  # whose matrix would have 160 GB
    p = Gaussian(features, kind="diagonal")()
    q = Independent(Normal(torch.zeros(features), 1.0), 1)
    for first, second in ((p, q), (q, p), (p, p)):
        assert kl_divergence(first, second).shape == ()


def test_the_gradient_is_that_of_the_closed_form() -> None:
    flow = GAUSSIANS["full"](3)
    q = Independent(Normal(randn(3, seed=5), randn(3, seed=6).exp()), 1)

    def gradients(divergence: Tensor) -> Any:
        return torch.autograd.grad(divergence, list(flow.parameters()))

    p = flow(randn(2))
    for ours, theirs in zip(
        gradients(kl_divergence(p, q)),
        gradients(kl_divergence(normal_of(p), normal_of(q))),
        strict=True,
    ):
        assert_close(ours, theirs)


def test_the_parameters_are_those_of_the_call() -> None:
    flow, q = GAUSSIANS["full"](3), Independent(Normal(torch.zeros(3).double(), 1.0), 1)
    other = {name: 0.5 * value for name, value in flow.state_dict().items()}
    p = torch.func.functional_call(flow, other, (randn(2),))
    found = kl_divergence(p, q)
    flow.load_state_dict(other)
    assert_close(found, kl_divergence(flow(randn(2)), q))


def test_an_estimate_agrees_with_the_closed_form() -> None:
    p, q = GAUSSIANS["full"](3)(randn(3, 2)), GAUSSIANS["linear"](3)(randn(3, 2, seed=9))
    found = estimate_kl(p, q, 20_000, generator=generator(0))
    exact = kl_divergence(p, q)
    assert found.error.shape == (3,)
    assert ((found.value - exact).abs() < 4 * found.error).all()
    assert (found.error < 0.05 * exact).all()
    assert found.value.requires_grad
    assert not found.error.requires_grad
    again = estimate_kl(p, q, 20_000, generator=generator(0))
    assert torch.equal(again.value, found.value)


def test_the_error_is_the_spread_of_the_estimates() -> None:
    p, q = perturbed(IAF(2), scale=0.3)(), perturbed(MAF(2), scale=0.3)()
    runs = [estimate_kl(p, q, 200, generator=generator(seed)) for seed in range(60)]
    spread = torch.stack([run.value.detach() for run in runs]).std()
    mean_error = torch.stack([run.error for run in runs]).mean()
    assert 0.7 < float(spread / mean_error) < 1.4


def test_estimates_from_other_distributions() -> None:
    p = Independent(Normal(torch.zeros(2).double(), 1.0), 1)
    q = perturbed(Gaussian(2))()
    torch.manual_seed(0)
    found = estimate_kl(p, q, 5000)
    assert abs(float((found.value - kl_divergence(p, q)).detach())) < 4 * float(found.error)
    mixture = FlowMixture([Gaussian(2), MAF(2)]).double()()
    found = estimate_kl(mixture, q, 100, generator=generator(0))
    assert not found.value.requires_grad
    with pytest.raises(TypeError, match="generator must be None for p, a Independent"):
        estimate_kl(p, q, generator=generator(0))
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        estimate_kl(q, p, 1)


def test_sizes_that_differ() -> None:
    conditional = Gaussian(2, context=2)
    for divergence in (kl_divergence, estimate_kl):
        with pytest.raises(ValueError, match=r"same event shape, got \(2,\) and \(3,\)"):
            divergence(Gaussian(2)(), Gaussian(3)())
        with pytest.raises(ValueError, match=r"of p and q must broadcast, got \(4,\) and \(5,\)"):
            divergence(conditional(torch.zeros(4, 2)), conditional(torch.zeros(5, 2)))


@pytest.mark.parametrize("batches", [((), (40,)), ((5,), (4, 1)), ((3, 1), (2,)), ((40,), ())])
def test_estimates_of_batches_that_broadcast(batches: tuple[tuple[int, ...], ...]) -> None:
    p, q = (
        Independent(Normal(0.3 * randn(*batch, 2, seed=seed), 1.0), 1)
        for seed, batch in enumerate(batches)
    )
    flow = perturbed(Gaussian(2, context=2))
    for first, second in ((p, q), (flow(randn(*batches[0], 2)), q)):
        torch.manual_seed(0)
        value, error = estimate_kl(first, second, samples=40)
        exact = kl_divergence(first, second)
        assert value.shape == error.shape == exact.shape == torch.broadcast_shapes(*batches)
        assert ((value - exact).abs() < 5 * error + 1e-12).all()


def test_what_has_no_closed_form() -> None:
    matrices = Independent(Normal(torch.zeros(2, 2), 1.0), 2)
    student = Gaussian(2, base="student-t")()
    for p, q in [(Gaussian(2)(), matrices), (student, Gaussian(2)()), (MAF(2)(), MAF(2)())]:
        with pytest.raises(NotImplementedError, match=r"estimate it: invflow\.flows\.estimate_kl"):
            kl_divergence(p, q)
