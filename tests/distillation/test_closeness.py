from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Uniform, kl_divergence

from invflow import IAF, Flow
from invflow.distillation import DensityTeacher, FlowTeacher, closeness
from invflow.flows import Gaussian, Preconditioned
from invflow.transforms import Sigmoid
from tests.distillation.teachers import gaussian, normal_of
from tests.helpers import flow, randn


def _standard() -> Flow:
    """Return the standard normal distribution as a flow."""
    student = Gaussian(1).double()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    return student


@pytest.mark.parametrize("features", [1, 3])
def test_divergences_against_closed_forms(features: int) -> None:
    teacher, student = gaussian(features, seed=1), gaussian(features, seed=5)
    p, q = normal_of(teacher), normal_of(student)
    found = closeness(teacher, student, count=20_000, seed=1)
    for mean, error, expected in (
        (found.reverse, found.reverse_error, kl_divergence(q, p)),
        (found.forward, found.forward_error, kl_divergence(p, q)),
    ):
        assert float(expected) > 0.02
        assert abs(mean - float(expected)) < 4 * error
        assert 0 < error < 0.2 * float(expected)
    assert found.symmetric == found.reverse + found.forward


def test_standard_errors_by_repetition() -> None:
    teacher, student = gaussian(3, seed=1), gaussian(3, seed=5)
    many = [closeness(teacher, student, count=300, seed=seed) for seed in range(40)]
    for name in ("reverse", "forward"):
        spread = torch.tensor([getattr(each, name) for each in many]).std()
        said = torch.tensor([getattr(each, f"{name}_error") for each in many]).mean()
        assert 0.6 < float(spread / said) < 1.6


def test_the_same_distribution_is_at_no_distance() -> None:
    teacher = gaussian(3)
    found = closeness(teacher, gaussian(3), count=100)
    assert abs(found.reverse) < 1e-12
    assert abs(found.forward) < 1e-12
    assert found.effective == pytest.approx(1)


def test_effective_sample_size_against_the_closed_form() -> None:
    """For N(m, 1) by draws of N(0, 1) the share is exp(-m^2)."""
    student = _standard()
    shift = 0.7
    teacher = DensityTeacher(lambda x: -0.5 * (x[:, 0] - shift).square(), 1, like=randn(1))
    found = closeness(teacher, student, count=50_000)
    assert found.effective == pytest.approx(math.exp(-(shift**2)), rel=0.05)


def test_a_lost_constant_cancels_in_the_sum() -> None:
    p, student = normal_of(gaussian(2)), gaussian(2, seed=5)
    samples = p.mean + randn(3000, 2) @ torch.linalg.cholesky(p.covariance_matrix).mT
    right, wrong = (
        DensityTeacher(lambda x, by=by: p.log_prob(x) + by, 2, samples=samples) for by in (0.0, 7.0)
    )
    one, other = (closeness(each, student, count=3000) for each in (right, wrong))
    assert other.reverse == pytest.approx(one.reverse - 7)
    assert other.forward == pytest.approx(one.forward + 7)
    assert other.symmetric == pytest.approx(one.symmetric)
    assert other.effective == pytest.approx(one.effective)


def test_without_samples() -> None:
    found = closeness(DensityTeacher(lambda x: -x.square().sum(-1), 2), IAF(2), count=50)
    assert math.isfinite(found.reverse)
    assert math.isnan(found.forward)
    assert math.isnan(found.speedup)
    assert found.teacher is None
    assert found.student.x.shape == (50, 2)


@torch.no_grad()
def test_contexts() -> None:
    model, student = gaussian(2, 1), flow(IAF, 2, 1, 1, (5,))()
    teacher = FlowTeacher(model, randn(20, 1))
    found = closeness(teacher, student, count=3000)
    context = found.student.context
    assert context is not None
    x = found.student.x
    expected = (student(context).log_prob(x) - model(context).log_prob(x)).mean()
    assert found.reverse == pytest.approx(float(expected))
    assert found.teacher is not None
    y, at = found.teacher
    assert at is not None
    expected = (model(at).log_prob(y) - student(at).log_prob(y)).mean()
    assert found.forward == pytest.approx(float(expected))
    assert found.student_seconds > 0
    assert found.speedup == found.teacher_seconds / found.student_seconds


def test_a_dropped_mode_shows_in_the_forward_divergence_alone() -> None:
    """A Gaussian over one of two equal modes: log 2 one way, as far as the other mode the other."""

    def two(x: Tensor) -> Tensor:
        ends = torch.stack([(x[:, 0] - 10), (x[:, 0] + 10)])
        return (-0.5 * ends.square()).logsumexp(0) - 0.5 * math.log(math.tau) - math.log(2)

    side = torch.where(torch.arange(2000) % 2 == 0, 10.0, -10.0).double().unsqueeze(-1)
    one = Preconditioned(_standard())
    one.set(torch.tensor([10.0]), torch.eye(1))
    found = closeness(DensityTeacher(two, 1, samples=side + randn(2000, 1)), one, count=2000)
    assert found.reverse == pytest.approx(math.log(2), abs=1e-6)
    assert found.effective == pytest.approx(1)
    assert found.forward == pytest.approx(0.5 * 20**2 / 2 - math.log(2), rel=0.05)


def test_zero_density_is_an_infinite_divergence() -> None:
    def half(x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 0, -x[:, 0], -torch.inf)

    found = closeness(DensityTeacher(half, 1), IAF(1), count=100)
    assert found.reverse == math.inf
    assert 0 < found.effective < 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_density(value: float) -> None:
    teacher = DensityTeacher(lambda x: torch.where(x[:, 0] > 0, x[:, 0], value), 1)
    with pytest.raises(ValueError, match="NaN or infinity at"):
        closeness(teacher, IAF(1), count=100)


def test_outside_the_students_support() -> None:
    p = Uniform(-1.0, 1.0)
    teacher = DensityTeacher(lambda x: -(x[:, 0] ** 2), 1, samples=p.sample(torch.Size([50, 1])))
    assert closeness(teacher, Flow(Sigmoid(1)), count=50).forward == math.inf


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="student must have 3 features and a context of 0"):
        closeness(gaussian(3), gaussian(2))
    with pytest.raises(ValueError, match="count must be at least 2"):
        closeness(gaussian(2), gaussian(2), count=1)
    with pytest.raises(TypeError, match="student must be a Flow"):
        closeness(gaussian(2), gaussian(2)())  # pyright: ignore[reportArgumentType]


def test_the_same_seed_gives_the_same_numbers() -> None:
    teacher, student = gaussian(2), gaussian(2, seed=5)
    one, again, other = (closeness(teacher, student, count=50, seed=s) for s in (1, 1, 2))
    assert one.reverse == again.reverse
    assert one.forward == again.forward
    assert one.reverse != other.reverse
    assert torch.equal(one.student.x, again.student.x)
