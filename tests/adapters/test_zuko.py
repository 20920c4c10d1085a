from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

import invflow
from invflow.flows import Flow, FlowMixture, Gaussian
from tests.helpers import FLOWS, assert_close, context_for, perturbed, randn

zuko = pytest.importorskip("zuko", reason="needs zuko")
from invflow.adapters.zuko import to_zuko  # noqa: E402

FLOWS = {name: build for name, build in FLOWS.items() if isinstance(build(), Flow)}


@pytest.mark.parametrize("name", FLOWS)
def test_is_the_same_distribution(name: str) -> None:
    flow = perturbed(FLOWS[name]())
    context = context_for(flow, 5)
    ours, theirs = flow(context), to_zuko(flow)(context)
    x = ours.sample((3,)) if context is not None else ours.sample((3, 5))
    assert_close(theirs.log_prob(x), ours.log_prob(x))
    torch.manual_seed(1)
    expected = ours.sample((4,))
    torch.manual_seed(1)
    assert_close(theirs.sample((4,)), expected)
    assert theirs.batch_shape == ours.batch_shape
    assert theirs.event_shape == ours.event_shape


def test_maps_data_to_noise() -> None:
    flow = perturbed(invflow.MAF(3, context=2))
    context = randn(2)
    transform = to_zuko(flow)(context).transform
    x = randn(3)
    z, ladj = transform.call_and_ladj(x)
    matrix = jacobian(lambda x: flow.transform.inverse(x, context)[0], x)
    assert isinstance(matrix, Tensor)
    assert_close(ladj, torch.linalg.slogdet(matrix).logabsdet)
    back, inverse_ladj = transform.inv.call_and_ladj(z)
    assert_close(back, x)
    assert_close(inverse_ladj, -ladj)


def test_draws_have_the_density_that_comes_with_them() -> None:
    flow = perturbed(invflow.IAF(1))
    x, log_q = to_zuko(flow)().rsample_and_log_prob((7,))
    assert_close(log_q, flow().log_prob(x))


def test_gradients_go_through_draws_to_flow_and_context() -> None:
    flow = perturbed(invflow.MAF(3, context=2))
    grads: list[list[Tensor]] = []
    for draw in (flow, to_zuko(flow)):
        torch.manual_seed(0)
        context = randn(5, 2).requires_grad_()
        value = draw(context).rsample((4,)).square().sum()
        grads.append(list(torch.autograd.grad(value, [context, *flow.parameters()])))
    for ours, theirs in zip(*grads, strict=True):
        assert ours.abs().sum() > 0
        assert_close(theirs, ours)


def test_an_expanded_distribution_draws_independent_vectors() -> None:
    x = to_zuko(invflow.MAF(2))().expand((3,)).sample((50,))
    assert x.shape == (50, 3, 2)
    assert not torch.equal(x[:, 0], x[:, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parameters_and_dtype_are_shared(dtype: torch.dtype) -> None:
    flow = invflow.MAF(2, base={"name": "diagonal"})
    theirs = to_zuko(flow).to(dtype)
    assert to_zuko(invflow.MAF(2))().sample().dtype == torch.float32
    assert {id(each) for each in theirs.parameters()} == {id(each) for each in flow.parameters()}
    assert theirs().sample((2,)).dtype == dtype
    assert len(theirs.state_dict()) == len(flow.state_dict())


def test_a_flow_that_is_moved_later_takes_its_noise_along() -> None:
    flow = invflow.MAF(2)
    theirs = copy.deepcopy(to_zuko(flow)), to_zuko(flow)
    flow.double()
    assert [each().sample().dtype for each in theirs] == [torch.float32, torch.float64]


def test_noise_without_a_gradient_is_drawn_all_the_same() -> None:
    flow = invflow.MAF(2, base={"name": "mixture", "components": ["normal"] * 2})
    assert not flow().has_rsample
    assert to_zuko(flow)().sample((3,)).shape == (3, 2)


def test_survives_pickling() -> None:
    flow = perturbed(invflow.NSF(2))
    x = randn(4, 2)
    assert_close(pickle.loads(pickle.dumps(to_zuko(flow)))().log_prob(x), flow().log_prob(x))


@pytest.mark.parametrize("wrong", [None, zuko.flows.MAF(2), FlowMixture([invflow.MAF(2)] * 2)])
def test_what_has_no_transform_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="flow must be an invflow Flow, got"):
        to_zuko(wrong)  # pyright: ignore[reportArgumentType]


def test_pocomc_trains_and_maps_through_it() -> None:
    pocomc = pytest.importorskip("pocomc", reason="needs pocomc")
    mine = pocomc.Flow(2, flow=to_zuko(invflow.MAF(2, transforms=2)))
    x = torch.randn(500, 2) @ torch.tensor([[2.0, 1.0], [0.0, 0.5]])
    losses = mine.fit(x, epochs=20, batch_size=100)["loss"]
    entropy = 1 + math.log(2 * math.pi)  # of the normal distribution, whose determinant is one
    assert losses[-1] == pytest.approx(entropy, abs=0.15)
    noise, ladj = mine.forward(x)
    back, inverse_ladj = mine.inverse(noise)
    assert_close(back, x, 1e-4)
    assert_close(inverse_ladj, -ladj, 1e-4)
    drawn, log_q = mine.sample(5)
    assert_close(mine.log_prob(drawn), log_q, 1e-4)


def test_pocomc_finds_the_evidence() -> None:
    """Of a normal likelihood of variance 1/10 under a normal prior of variance 9."""
    pocomc = pytest.importorskip("pocomc", reason="needs pocomc")
    stats = pytest.importorskip("scipy.stats")
    sampler = pocomc.Sampler(
        pocomc.Prior([stats.norm(0, 3)] * 2),
        lambda x: -5 * ((x - 1) ** 2).sum(-1),
        vectorize=True,
        flow=to_zuko(invflow.MAF(2, transforms=2, hidden_features=(16,))),
        n_effective=128,
        n_active=64,
        random_state=0,
        train_config={"epochs": 10},
    )
    sampler.run(n_total=128, n_evidence=256, progress=False)
    per_feature = 0.5 * math.log(0.1 / 9.1) - 0.5 / 9.1
    assert sampler.evidence()[0] == pytest.approx(2 * per_feature, abs=0.25)


def test_lampe_builds_estimators_of_flows() -> None:
    inference = pytest.importorskip("lampe.inference", reason="needs lampe")
    estimator = inference.NPE(2, 3, build=invflow.MAF, transforms=2)
    theta, x = torch.randn(5, 2), torch.randn(5, 3)
    inference.NPELoss(estimator)(theta, x).backward()
    assert all(each.grad is not None for each in estimator.parameters())
    assert_close(estimator(theta, x), estimator.flow(x).log_prob(theta), 1e-6)
    assert estimator(theta[:, None], x).shape == (5, 5)
    assert estimator.flow(x[0]).sample((7,)).shape == (7, 2)


def test_a_gaussian_is_what_it_was() -> None:
    flow = Gaussian(1).double()
    x = randn(4, 1)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(x[:, 0])
    assert_close(to_zuko(flow)().log_prob(x), expected)
