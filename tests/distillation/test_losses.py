from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from invflow.distillation import DensityTeacher, Draws, FlowTeacher, Objective, Teacher
from invflow.distillation.losses import GRADIENTS, Aim, mismatch, moments_about
from invflow.flows import IAF, Flow
from tests.distillation.teachers import cubic, gaussian
from tests.helpers import flow, generator, randn


def _gradient(student: Flow, loss: Tensor) -> Tensor:
    parts = torch.autograd.grad(loss, list(student.parameters()))
    return torch.cat([part.flatten() for part in parts])


def _teacher() -> Teacher:
    return DensityTeacher(cubic, 3, like=randn(1))


@pytest.mark.parametrize("name", GRADIENTS)
def test_expected_gradient_is_that_of_the_divergence(name: str) -> None:
    """Against automatic differentiation of E[log q - log p], both averaged over many draws."""
    student, count = gaussian(3), 400_000
    aim = Aim(Objective(gradient=name), _teacher(), None)
    found = _gradient(student, aim.loss(student, count, generator(0)))
    x, log_q = student().rsample_and_log_prob((count,), generator=generator(1))
    expected = _gradient(student, (log_q - cubic(x)).mean())
    assert expected.abs().max() > 0.5
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("name", GRADIENTS)
def test_value_is_the_mean_log_ratio(name: str) -> None:
    student = flow(IAF, 3, 0, 2, (6,))()
    value = Aim(Objective(gradient=name), _teacher(), None).loss(student, 7, generator(0))
    x, log_q = student().rsample_and_log_prob((7,), generator=generator(0))
    torch.testing.assert_close(value, (log_q - cubic(x)).mean())


def test_without_gradients_no_score_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    student, aim = flow(IAF, 3, 0, 2, (6,))(), Aim(Objective(), _teacher(), None)
    expected = aim.loss(student, 7, generator(0))
    monkeypatch.setitem(GRADIENTS, "path", None)
    with torch.no_grad():
        torch.testing.assert_close(aim.loss(student, 7, generator(0)), expected.detach())


@pytest.mark.parametrize("context", [0, 2])
def test_only_the_path_gradient_vanishes_draw_by_draw_at_the_teacher(context: int) -> None:
    student, twin = (flow(IAF, 5, context, 2, (6,))() for _ in range(2))
    teacher = FlowTeacher(twin, randn(10, context) if context else None)
    size = {}
    for name in GRADIENTS:
        loss = Aim(Objective(gradient=name), teacher, None).loss(student, 4, generator(0))
        assert abs(float(loss.detach())) < 1e-10
        size[name] = float(_gradient(student, loss).abs().max())
    assert size["path"] < 1e-10
    assert size["total"] > 1e-2


def test_teacher_gets_no_gradient() -> None:
    student, teacher = flow(IAF, 3, 0, 2, (6,))(), gaussian(3)
    pool = FlowTeacher(teacher).draws(50, generator(0))
    objective = Objective(forward=1.0, moments=1.0)
    Aim(objective, FlowTeacher(teacher), pool).loss(student, 8, generator(0)).backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert any(parameter.grad is not None for parameter in student.parameters())


def test_base_and_context_take_part() -> None:
    """A base with parameters of its own, on the path: against the plain gradient in expectation."""
    student = flow(IAF, 2, 1, 1, (5,), base="diagonal")()
    teacher = DensityTeacher(
        lambda x, context: cubic(x - context), 2, contexts=torch.tensor([[-1.0], [2.0]]).double()
    )
    sums = {name: torch.zeros(()) for name in GRADIENTS}
    for name in GRADIENTS:
        aim = Aim(Objective(gradient=name), teacher, None)
        sums[name] = _gradient(student, aim.loss(student, 200_000, generator(3)))
    torch.testing.assert_close(sums["path"], sums["total"], rtol=0.05, atol=0.05)
    assert sums["total"].abs().max() > 1


def test_forward_term_is_the_mean_log_likelihood() -> None:
    student, y = flow(IAF, 3, 0, 2, (6,))(), randn(1, 3)
    aim = Aim(Objective(reverse=0.0, forward=2.0), _teacher(), Draws(y, None))
    value = aim.loss(student, 5, generator(0))
    torch.testing.assert_close(value, -2 * student().log_prob(y[0]))


def test_forward_term_keeps_samples_and_contexts_together() -> None:
    student, c = flow(IAF, 1, 1, 1, (5,))(), randn(6, 1)
    pool = Draws(10 * c, c)
    teacher = DensityTeacher(lambda x, context: x[:, 0], 1, samples=10 * c, contexts=c)
    aim = Aim(Objective(reverse=0.0, forward=1.0), teacher, pool)
    expected = -student(c).log_prob(10 * c)
    values = [float(aim.loss(student, 2, generator(seed)).detach()) for seed in range(20)]
    pairs = {round(float(a + b) / 2, 8) for a in expected.detach() for b in expected.detach()}
    assert {round(value, 8) for value in values} <= pairs


def test_moment_loss_by_hand() -> None:
    y = torch.tensor([[0.0, 0.0], [2.0, 4.0]]).double()  # means 1 and 2, deviations 1 and 2
    # In the teacher's units, y is (-1, -1), (1, 1): means 0, second moments all 1.
    x = torch.tensor([[2.0, 2.0], [1.0, 4.0], [1.0, 2.0]]).double()
    # In the teacher's units, (1, 0), (0, 1) in the first half and (0, 0) in the second.
    means = [(0.5, 0.0), (0.5, 0.0)]
    seconds = [(0.5 - 1, -1.0), (-1.0, -1.0), (-1.0, -1.0), (0.5 - 1, -1.0)]
    expected = 0.5 * sum(a * b for a, b in means) + 0.25 * sum(a * b for a, b in seconds)
    of = moments_about(y)
    torch.testing.assert_close(mismatch(of, x, of(y)), torch.tensor(expected).double())
    # And with a mean that differs in both halves.
    x = torch.tensor([[2.0, 2.0], [2.0, 2.0]]).double()
    expected = 0.5 * 1 + 0.25 * (0 + 1 + 1 + 1)
    torch.testing.assert_close(mismatch(of, x, of(y)), torch.tensor(expected).double())


def test_moment_loss_is_the_divergence_of_gaussians_to_second_order() -> None:
    mean, scale = 1e-3 * randn(3), 1 + 1e-3 * randn(3)
    y = torch.cat([torch.eye(3), -torch.eye(3)]).double() * math.sqrt(3)  # mean 0, covariance 1
    of = moments_about(y)
    x = mean + scale * y
    found = mismatch(of, torch.cat([x, x]), of(y))
    expected = 0.5 * (scale.square() + mean.square() - 1 - 2 * scale.log()).sum()
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.0)


def test_mismatch_is_right_on_average() -> None:
    x = randn(200_000, 5, seed=1) + 1

    def mean(rows: Tensor) -> Tensor:
        return rows.mean(0)

    found = [mismatch(mean, part.unsqueeze(-1), torch.zeros(1).double()) for part in x[:20_000]]
    # A plain square of means of five draws would be 1 + 1/5.
    assert abs(float(torch.stack(found).mean()) - 1) < 0.02


def test_feature_loss_is_that_of_the_mean_features() -> None:
    student, y = flow(IAF, 2, 0, 1, (6,))(), randn(9, 2, seed=4)

    def features(x: Tensor) -> Tensor:
        return torch.stack([x[:, 0] * x[:, 1], x[:, 0].sin()], -1)

    objective = Objective(reverse=0.0, features=3.0, feature_map=features)
    value = Aim(objective, _teacher(), Draws(y, None)).loss(student, 6, generator(0))
    x, _ = student().rsample_and_log_prob((6,), generator=generator(0))
    one, other = (features(half).mean(0) - features(y).mean(0) for half in (x[:3], x[3:]))
    torch.testing.assert_close(value, 3 * (one @ other))


def test_terms_add_up() -> None:
    student, pool = flow(IAF, 2, 0, 1, (6,))(), Draws(randn(30, 2), None)
    reverse = Aim(Objective(reverse=2.0), _teacher(), pool)
    moments = Aim(Objective(reverse=0.0, moments=0.7), _teacher(), pool)
    both = Aim(Objective(reverse=2.0, moments=0.7), _teacher(), pool)
    alone = [aim.loss(student, 8, generator(0)) for aim in (reverse, moments)]
    torch.testing.assert_close(both.loss(student, 8, generator(0)), alone[0] + alone[1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"reverse": -1.0}, ValueError, "reverse must be at least 0"),
        ({"moments": math.nan}, ValueError, "moments must be at least 0"),
        ({"forward": "much"}, TypeError, "forward must be a number"),
        ({"reverse": 0.0}, ValueError, "at least one weight"),
        ({"features": 1.0}, ValueError, "must be given together"),
        ({"feature_map": torch.sin}, ValueError, "must be given together"),
        ({"features": 1.0, "feature_map": 3}, TypeError, "feature_map must be a function"),
        ({"gradient": "score"}, ValueError, "gradient must be one of 'path', 'total'"),
    ],
)
def test_bad_objectives(change: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        replace(Objective(), **change)  # pyright: ignore[reportArgumentType]


def test_moments_of_constant_features() -> None:
    with pytest.raises(ValueError, match="got 1 constant features, the first of them 1"):
        moments_about(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))


def test_moments_of_draws_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="NaN or infinity in 1 rows"):
        moments_about(torch.tensor([[0.0, 1.0], [1.0, torch.nan]]))
