from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from invflow import IAF, MAF
from invflow.distillation import DensityTeacher, FlowTeacher, Objective, closeness, distill
from invflow.flows import Gaussian, Preconditioned
from tests.distillation.teachers import cubic, gaussian, normal, normal_of
from tests.helpers import flow, randn

SMALL = {"name": "iaf", "transforms": 2, "hidden_features": (8,)}


def _equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("gradient", ["path", "total"])
def test_gaussian_student_finds_a_gaussian(gradient: str) -> None:
    """From the identity, by the closed form of the divergence at the end."""
    teacher, student = gaussian(3, scale=0.8), Gaussian(3).double()
    begin = float(kl_divergence(normal_of(student), normal_of(teacher)))
    found = distill(
        teacher,
        student,
        objective=Objective(gradient=gradient),
        steps=200,
        batch_size=64,
        learning_rate=5e-2,
    )
    assert found is student
    assert begin > 0.3
    limit = {"path": 1e-3, "total": 2e-2}[gradient]
    assert float(kl_divergence(normal_of(student), normal_of(teacher))) < limit


@pytest.mark.parametrize("features", [1, 5])
def test_a_named_student_starts_from_mean_and_covariance(features: int) -> None:
    """Far away, with a full covariance: next to nothing is left to learn."""
    teacher = normal(features)
    teacher = MultivariateNormal(100 + teacher.loc, 1e-4 * teacher.covariance_matrix)
    student = distill(teacher, SMALL, steps=20, batch_size=16)
    found = closeness(teacher, student, count=4000)
    assert student.like.dtype == torch.float64
    assert found.reverse < 0.05
    assert found.forward < 0.05


def test_iaf_learns_a_maf() -> None:
    teacher = flow(MAF, 5, 0, 1, (8,))()
    far = closeness(teacher, distill(teacher, SMALL, steps=1), count=2000)
    student = distill(teacher, SMALL, steps=150, batch_size=64, learning_rate=1e-2)
    near = closeness(teacher, student, count=2000)
    assert near.reverse < 0.2 * far.reverse
    assert near.forward < 0.3 * far.forward
    assert near.effective > far.effective


def test_conditional_teacher() -> None:
    """Linear in the context, like the student: the divergence at a new context."""
    teacher, student = gaussian(2, 1), Gaussian(2, 1).double()
    contexts = randn(500, 1)
    distill(FlowTeacher(teacher, contexts), student, steps=200, batch_size=128, learning_rate=5e-2)
    found = closeness(FlowTeacher(teacher, torch.tensor([[0.7]]).double()), student, count=2000)
    assert found.reverse < 0.01
    assert found.forward < 0.01
    elsewhere = closeness(FlowTeacher(teacher, contexts), Gaussian(2, 1).double(), count=2000)
    assert elsewhere.reverse > 0.2


def test_log_density_without_samples() -> None:
    """The Gaussian nearest to exp(-(x - 2)^4 / 4) has the largest log s - 3 s^4 / 4."""
    teacher = DensityTeacher(lambda x: -0.25 * (x[:, 0] - 2).pow(4), 1, like=randn(1))
    student = Gaussian(1).double()
    distill(teacher, student, steps=200, batch_size=128, learning_rate=0.1)
    found = normal_of(student)
    assert float(found.mean) == pytest.approx(2, abs=0.05)
    assert float(found.variance) == pytest.approx(1 / math.sqrt(3), rel=0.1)


def test_forward_term_covers_a_mode_that_the_reverse_drops() -> None:
    """From one of two modes, at -3 and 3."""

    def two(x: Tensor) -> Tensor:
        ends = torch.stack([(x[:, 0] - 3), (x[:, 0] + 3)])
        return (-0.5 * ends.square()).logsumexp(0)

    side = torch.where(torch.arange(1000) % 2 == 0, 3.0, -3.0).double().unsqueeze(-1)
    teacher = DensityTeacher(two, 1, samples=side + randn(1000, 1))
    found: dict[str, MultivariateNormal] = {}
    for name, objective in {
        "reverse": Objective(),
        "forward": Objective(reverse=0.0, forward=1.0),
    }.items():
        student = Preconditioned(Gaussian(1).double())
        student.set(torch.tensor([3.0]), torch.eye(1))
        distill(teacher, student, objective=objective, steps=200, learning_rate=0.1)
        found[name] = normal_of(student)
    assert float(found["reverse"].mean) == pytest.approx(3, abs=0.1)
    assert float(found["reverse"].variance) == pytest.approx(1, abs=0.1)
    assert float(found["forward"].mean) == pytest.approx(0, abs=0.5)
    assert float(found["forward"].variance) == pytest.approx(10, rel=0.1)


def test_moments_alone_match_mean_and_covariance() -> None:
    model = gaussian(2, scale=1.0)
    p, student = normal_of(model), Gaussian(2).double()
    assert float(kl_divergence(p, normal_of(student))) > 0.1
    objective = Objective(reverse=0.0, moments=1.0)
    distill(model, student, objective=objective, steps=200, learning_rate=3e-2)
    assert float(kl_divergence(p, normal_of(student))) < 0.01


@pytest.mark.parametrize("conditional", [False, True])
def test_an_interrupted_run_comes_to_the_same_numbers(conditional: bool, tmp_path: Path) -> None:
    model = flow(MAF, 3, int(conditional), 1, (5,))()
    teacher = FlowTeacher(model, randn(9, 1) if conditional else None)
    options: dict[str, Any] = {
        "objective": Objective(forward=0.5, moments=0.1),
        "steps": 9,
        "batch_size": 6,
        "pool": 50,
        "evaluate_every": 2,
    }
    whole = distill(teacher, SMALL, directory=tmp_path / "whole", **options)

    def stop(step: int, line: str) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(teacher, SMALL, directory=tmp_path / "parts", report=stop, **options)
    seen: list[int] = []
    again = distill(
        teacher,
        SMALL,
        directory=tmp_path / "parts",
        report=lambda step, line: seen.append(step),
        **options,
    )
    assert seen[0] == 4
    assert _equal(whole, again)
    assert not _equal(whole, distill(teacher, SMALL, **options, seed=1))
    assert _equal(whole, distill(teacher, SMALL, **options))
    others = (
        {"objective": Objective(forward=1.0)},
        {"seed": 1},
        {"student": {**SMALL, "order": "same"}},
    )
    for other in others:
        changed: dict[str, Any] = {"student": SMALL, **options, **other}
        with pytest.raises(ValueError, match="checkpoints of another training, with other data"):
            distill(teacher, directory=tmp_path / "parts", **changed)


def test_nothing_outside_is_touched() -> None:
    teacher = flow(MAF, 2, 0, 1, (5,))()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    state = torch.get_rng_state()
    distill(teacher, SMALL, steps=3, objective=Objective(forward=1.0))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == torch.float32
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(p.grad is None and p.requires_grad for p in teacher.parameters())


def test_a_step_without_a_density_is_skipped() -> None:
    """The density is NaN in the second and third batch of the training, of 256 draws."""
    batches = []

    def sometimes(x: Tensor) -> Tensor:
        batches.extend([len(x)] * (len(x) == 256))
        good = cubic(x)
        return good * torch.nan if len(batches) in (2, 3) and len(x) == 256 else good

    lines: list[str] = []
    distill(
        DensityTeacher(sometimes, 2),
        SMALL,
        steps=6,
        report=lambda step, line: lines.append(line),
    )
    assert lines[-1].endswith("2 skipped")


@pytest.mark.parametrize(
    ("log_density", "message"),
    [
        (lambda x: cubic(x) + torch.randn(len(x)), "same value for the same vector"),
        (lambda x: cubic(x) - x.square().sum(), "same value for a vector in any batch"),
        (lambda x: cubic(x).sum(), r"must return shape \(32,\) .* is it summed over the batch"),
    ],
)
def test_log_densities_that_are_random_or_mix_a_batch_are_refused(
    log_density: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        distill(DensityTeacher(log_density, 2), SMALL, steps=5)


def _half(x: Tensor) -> Tensor:
    return torch.where(x[:, 0] > 0, -x[:, 0], -torch.inf)


@pytest.mark.parametrize(
    ("teacher", "options", "error", "message"),
    [
        (cubic, {}, TypeError, "teacher must be a Teacher"),
        (
            gaussian(2),
            {"student": IAF(3).double()},
            ValueError,
            "2 features and a context of 0, like the teacher",
        ),
        (gaussian(2), {"student": IAF(2, 1).double()}, ValueError, "context of 0"),
        (gaussian(2), {"student": {**SMALL, "features": 3}}, ValueError, "got 3 and 0"),
        (
            gaussian(2),
            {"student": IAF(2)},
            ValueError,
            r"have the teacher's dtype torch\.float64 and be on its device cpu",
        ),
        (gaussian(2), {"student": "made"}, ValueError, "name must be one of"),
        (gaussian(2), {"student": 3}, TypeError, "student must be a flow, a name or"),
        (gaussian(2), {"student": {"features": 2}}, TypeError, "student must be a flow, a name"),
        (gaussian(2), {"student": "mixture"}, TypeError, "argument 'features'"),
        (gaussian(2, 1), {}, ValueError, "contexts of shape"),
        (gaussian(2).half(), {}, ValueError, "float32 or float64"),
        (gaussian(2), {"steps": 0}, ValueError, "steps must be at least 1"),
        (gaussian(2), {"batch_size": 1}, ValueError, "batch_size must be at least 2"),
        (gaussian(2), {"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
        (gaussian(2), {"pool": 1}, ValueError, "pool must be at least 10"),
        (
            DensityTeacher(cubic, 2),
            {"objective": Objective(moments=1.0)},
            ValueError,
            "teacher must have samples",
        ),
        (
            DensityTeacher(cubic, 2, samples=torch.ones(20, 2)),
            {},
            ValueError,
            "got 2 constant features, the first of them 0",
        ),
        (DensityTeacher(_half, 2), {}, ValueError, "density zero at some of its draws"),
    ],
)
def test_bad_input(
    teacher: Any, options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        distill(teacher, directory=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
