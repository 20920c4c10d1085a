from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from invflow import Flow
from invflow.transforms import BatchNorm, Compose, Elementwise, Inverse
from tests.helpers import assert_close, perturbed, randn


def data(*batch: int, seed: int = 0) -> Tensor:
    return randn(*batch, 3, seed=seed) * torch.tensor([0.1, 1.0, 30.0]) + torch.tensor([5.0, 0, -9])


def pair(**options: float) -> tuple[BatchNorm, nn.BatchNorm1d]:
    """Return a perturbed transform, and torch's own layer with the same parameters."""
    ours = perturbed(BatchNorm(3, **options))
    renamed = {"epsilon": "eps", "momentum": "momentum"}
    theirs = nn.BatchNorm1d(3, **{renamed[key]: value for key, value in options.items()}).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.log_scale.exp())
        theirs.bias.copy_(ours.shift)
    return ours, theirs


@pytest.mark.parametrize("options", [{}, {"epsilon": 0.1, "momentum": 0.7}, {"momentum": 1.0}])
def test_agrees_with_torchs_own(options: dict[str, float]) -> None:
    ours, theirs = pair(**options)
    for seed in range(3):
        x = data(11, seed=seed)
        assert_close(ours.inverse(x)[0], theirs(x), 1e-12)
    assert_close(ours.running_mean, theirs.running_mean, 1e-12)
    assert_close(ours.running_variance, theirs.running_var, 1e-12)
    ours.eval()
    theirs.eval()
    assert_close(ours.inverse(data(11, seed=5))[0], theirs(data(11, seed=5)), 1e-12)


def test_any_batch_shape_is_one_batch() -> None:
    first, second = pair()[0], pair()[0]
    x = data(2, 5)
    z, ladj = first.inverse(x)
    flat, flat_ladj = second.inverse(x.reshape(10, 3))
    assert_close((z.reshape(10, 3), ladj.reshape(10)), (flat, flat_ladj), 1e-13)
    assert_close(first.running_mean, second.running_mean, 1e-13)


def test_log_det_in_training_mode_holds_the_statistics_that_it_used() -> None:
    transform = pair()[0]
    x = data(11)
    _, ladj = transform.inverse(x)
    mean, variance = x.mean(0), x.var(0, correction=0)

    def affine(x: Tensor) -> Tensor:
        scale = transform.log_scale.exp() / (variance + 1e-5).sqrt()
        return (x - mean) * scale + transform.shift

    assert_close(transform.inverse(x)[0], affine(x), 1e-10)
    for i in range(11):
        jacobian = torch.autograd.functional.jacobian(affine, x[i])
        assert_close(ladj[i], torch.linalg.slogdet(jacobian).logabsdet)


def test_log_det_in_evaluation_mode_is_that_of_the_running_averages() -> None:
    transform = pair()[0]
    transform.inverse(data(11))
    transform.eval()
    x = data(7, seed=3)
    _, ladj = transform.inverse(x)
    log_std = 0.5 * (transform.running_variance + 1e-5).log()
    assert_close(ladj, (transform.log_scale - log_std).sum().expand(7))
    jacobian = torch.autograd.functional.jacobian(lambda x: transform.inverse(x)[0], x[0])
    assert_close(ladj[0], torch.linalg.slogdet(jacobian).logabsdet)


def test_modes_agree_where_the_averages_are_those_of_the_batch() -> None:
    transform, x = perturbed(BatchNorm(3, momentum=1.0)), data(11)
    z, ladj = transform.inverse(x)
    with torch.no_grad():  # from the sample's variance to that of its eleven events
        transform.running_variance.mul_(10 / 11)
    assert_close(transform.eval().inverse(x), (z, ladj), 1e-12)
    assert_close(transform(z), (x, -ladj), 1e-9)


def test_modes_converge() -> None:
    """After many batches of one distribution both modes see nearly the same numbers."""
    transform = BatchNorm(3).double()
    for seed in range(60):
        transform.inverse(data(400, seed=seed))
    x = data(400, seed=99)
    z, ladj = transform.inverse(x)
    eval_z, eval_ladj = transform.eval().inverse(x)
    assert_close(eval_z, z, 0.2)
    assert_close(eval_ladj, ladj, 0.2)


def test_forward_always_undoes_the_running_averages() -> None:
    transform = pair()[0]
    transform.inverse(data(11))
    z = randn(4, 3)
    before = {key: tensor.clone() for key, tensor in transform.state_dict().items()}
    trained = transform(z)
    assert_close(transform.eval()(z), trained, 0)
    assert all(torch.equal(before[key], value) for key, value in transform.state_dict().items())
    assert_close(transform.inverse(trained[0]), (z, -trained[1]))
    assert transform.train()(z[0])[0].shape == (3,)  # a single vector too


def test_evaluation_changes_nothing() -> None:
    transform = pair()[0]
    transform.inverse(data(11))
    before = {key: tensor.clone() for key, tensor in transform.state_dict().items()}
    transform.eval().inverse(data(4, seed=8))
    assert all(torch.equal(before[key], value) for key, value in transform.state_dict().items())


def test_gradients_flow_through_the_batch_statistics() -> None:
    transform = pair()[0]
    inputs = (data(4).requires_grad_(),)
    assert torch.autograd.gradcheck(transform.inverse, inputs)
    z, _ = transform.inverse(inputs[0])
    (gradient,) = torch.autograd.grad(z.sum(), inputs[0])
    assert gradient.abs().max() < 1e-9  # a batch's mean does not depend on the batch


def test_gradient_after_a_later_batch() -> None:
    """What moves the averages does not touch what an earlier call has kept for its gradient."""
    transform = pair()[0]
    z = randn(4, 3).requires_grad_()
    (expected,) = torch.autograd.grad(transform(z)[0].square().sum(), z)
    x, _ = transform(z)
    transform.inverse(data(11))
    (gradient,) = torch.autograd.grad(x.square().sum(), z)
    assert_close(gradient, expected, 1e-12)


@pytest.mark.parametrize("batch", [(), (1,), (1, 1), (0,)], ids=str)
def test_too_small_a_batch_is_refused_in_training_mode(batch: tuple[int, ...]) -> None:
    transform = BatchNorm(3).double()
    with pytest.raises(ValueError, match=r"x must hold at least 2 events in training mode, got"):
        transform.inverse(data(*batch))
    assert not transform.running_mean.any()
    assert transform.eval().inverse(data(*batch))[0].shape == (*batch, 3)


def test_constant_feature() -> None:
    transform = BatchNorm(3)
    x = data(5).float()
    x[:, 0] = 2.0
    z, ladj = transform.inverse(x)
    assert not z[:, 0].any()
    assert torch.isfinite(ladj).all()


def test_state_survives_saving() -> None:
    ours, theirs = pair()[0], BatchNorm(3).double()
    for seed in range(3):
        ours.inverse(data(11, seed=seed))
    theirs.load_state_dict(ours.state_dict())
    x = data(6, seed=7)
    assert_close(theirs.eval().inverse(x), ours.eval().inverse(x), 0)


def test_density_of_a_flow_integrates_to_one_in_evaluation_mode() -> None:
    norm = BatchNorm(1, momentum=0.5)
    flow = Flow(Compose([Inverse(Elementwise(1)), norm])).double()
    for seed in range(5):
        flow().log_prob(randn(50, 1, seed=seed) * 2 + 3)
    flow.eval()
    grid = torch.linspace(-30, 40, 20001, dtype=torch.float64)
    density = flow().log_prob(grid[:, None]).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-8)
    mean = torch.trapezoid(density * grid, grid).item()
    assert mean == pytest.approx(norm.running_mean.item(), abs=1e-8)
    assert math.isfinite(mean)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_compiled_in_training_mode() -> None:
    eager, transform = pair()[0], pair()[0]
    torch._dynamo.reset()
    compiled = torch.compile(transform.inverse, fullgraph=True, backend="aot_eager")
    for batch in (data(7), data(9, seed=5)):
        assert_close(compiled(batch), eager.inverse(batch))
    assert_close(transform.running_mean, eager.running_mean)
    assert_close(transform.running_variance, eager.running_variance)
    torch._dynamo.reset()


def test_running_averages_survive_a_batch_that_is_not_finite() -> None:
    x = randn(6, 2)
    x[1, 0] = torch.nan
    transform = BatchNorm(2).double()
    transform.inverse(x)
    assert transform.running_mean[0] == 0
    assert transform.running_variance[0] == 1
    assert transform.running_mean[1] != 0
