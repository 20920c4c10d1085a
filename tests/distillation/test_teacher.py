from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import Independent, Normal

from invflow import IAF, MAF
from invflow.distillation import DensityTeacher, FlowTeacher
from invflow.distillation.teacher import as_teacher
from invflow.flows import FlowMixture
from tests.distillation.teachers import cubic, gaussian, normal
from tests.helpers import flow, generator, randn


def test_flow_with_contexts() -> None:
    model, contexts = flow(MAF, 3, 2, 1, (5,))(), randn(4, 2)
    teacher = FlowTeacher(model, contexts)
    y, context = teacher.draws(200, generator(0))
    assert context is not None
    assert y.shape == (200, 3)
    # Every context is among those given, and none is left out.
    places = (context.unsqueeze(1) == contexts).all(-1)
    assert torch.equal(places.sum(1), torch.ones(200).long())
    assert places.any(0).all()
    torch.testing.assert_close(teacher.log_prob(y, context), model(context).log_prob(y))
    assert not teacher.log_prob(y, context).requires_grad


def test_scores_against_the_closed_form() -> None:
    p = normal(3)
    x = randn(5, 3)
    log_p, score = FlowTeacher(p).scores(x)
    torch.testing.assert_close(log_p, p.log_prob(x))
    torch.testing.assert_close(score, (p.loc - x) @ p.precision_matrix)


@pytest.mark.parametrize(
    "model", [normal(2), gaussian(2), FlowMixture([gaussian(2), gaussian(2, seed=3)]).double()]
)
def test_draws_follow_the_generator_alone(model: Any) -> None:
    teacher = as_teacher(model)
    torch.manual_seed(1)
    one = teacher.draws(5, generator(3))
    state = torch.get_rng_state()
    torch.manual_seed(2)
    other = teacher.draws(5, generator(3))
    assert one is not None
    assert other is not None
    assert torch.equal(one.x, other.x)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.x.dtype == torch.float64


def test_samples_are_drawn_without_replacement_with_their_contexts() -> None:
    samples = randn(7, 2)
    teacher = DensityTeacher(cubic, 2, samples=samples, contexts=samples[:, :1].clone())
    found = teacher.draws(5, generator(0))
    assert found is not None
    assert found.context is not None
    assert len(torch.unique(found.x, dim=0)) == 5
    assert torch.equal(found.x[:, :1], found.context)
    every = teacher.draws(100, generator(0))
    assert every is not None
    assert torch.equal(every.x.sort(0)[0], samples.sort(0)[0])


def test_no_samples_no_draws() -> None:
    assert DensityTeacher(cubic, 2).draws(5, generator(0)) is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: as_teacher(cubic), TypeError, "use a DensityTeacher"),
        (lambda: FlowTeacher(cubic), TypeError, "model must be a flow or a distribution"),  # pyright: ignore[reportArgumentType]
        (lambda: FlowTeacher(IAF(2, 1)), ValueError, r"contexts of shape \(rows, 1\) are required"),
        (lambda: FlowTeacher(IAF(2), randn(3, 1)), ValueError, "contexts must be None"),
        (lambda: FlowTeacher(normal(2), randn(3, 1)), ValueError, "contexts must be None"),
        (lambda: FlowTeacher(IAF(2, 1), torch.zeros(3, 2)), ValueError, "contexts must have shape"),
        (lambda: FlowTeacher(IAF(2, 1), randn(3, 1)), TypeError, "dtype torch.float32"),
        (lambda: FlowTeacher(IAF(2, 1), torch.zeros(0, 1)), ValueError, "at least 1 rows"),
        (
            lambda: FlowTeacher(Normal(0.0, 1.0)),
            ValueError,
            "vectors without batch dimensions, got batch shape",
        ),
        (
            lambda: FlowTeacher(Independent(Normal(torch.zeros(2, 3), 1.0), 1)),
            ValueError,
            r"batch shape \(2,\)",
        ),
        (lambda: DensityTeacher(3, 2), TypeError, "log_density must be a function"),  # pyright: ignore[reportArgumentType]
        (lambda: DensityTeacher(cubic, 0), ValueError, "features must be at least 1"),
        (lambda: DensityTeacher(cubic, 2, samples=randn(5, 3)), ValueError, "samples must have"),
        (
            lambda: DensityTeacher(cubic, 2, samples=randn(1, 2)),
            ValueError,
            r"\(rows, 2\) with at least 2 rows, got",
        ),
        (
            lambda: DensityTeacher(cubic, 1, samples=torch.tensor([[1.0], [torch.nan]])),
            ValueError,
            "samples must be finite, got 1 rows with NaN or infinity",
        ),
        (
            lambda: DensityTeacher(cubic, 2, samples=randn(5, 2), contexts=randn(4, 1)),
            ValueError,
            "one row for each of the 5 samples, got 4",
        ),
    ],
)
def test_bad_teachers(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
