"""A student taught: where it starts, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from invflow import _checks, training
from invflow._modes import evaluating
from invflow.distillation.losses import Aim, Objective, deviations
from invflow.distillation.teacher import Draws, Teacher, as_teacher
from invflow.flows import Flow, FlowMixture, Preconditioned, build
from invflow.training.batches import generator

#: How Fabric calls the dtypes that there is training in.
PRECISIONS = {torch.float32: "32-true", torch.float64: "64-true"}
#: Draws on which the student is evaluated.
CHECK = 2048
#: Largest norm of a gradient.
CLIP = 50.0


def distill(
    teacher: Teacher | Flow | FlowMixture | Distribution,
    student: str | Mapping[str, Any] | Flow = "iaf",
    *,
    objective: Objective | None = None,
    steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    pool: int = 16384,
    seed: int = 0,
    evaluate_every: int = 200,
    directory: str | Path | None = None,
    report: Callable[[int, str], None] = lambda step, line: None,
) -> Flow:
    r"""Teach a flow that is fast to sample a density.

    By default the student minimises its divergence from the teacher,

    $$KL(q \| p) = E_{x \sim q}[\log q(x) - \log p(x)],$$

    for which an IAF has draws and their log density in one pass. Minimised, it may drop modes of
    the teacher, and cannot notice: `closeness` measures the other divergence too, and
    `Objective(forward=...)` trains by it.

    A student given by name starts from the teacher's mean and covariance, if there are samples; one
    that is given as a flow, from where it is. Of everything evaluated on the way the best is kept.

    Args:
        teacher: a flow or distribution, or a `FlowTeacher` with contexts, or a `DensityTeacher`.
        student: the name of a flow, a mapping with the "name" and arguments of one, or a flow,
            which is trained in place. It gets the teacher's context.
        objective: what to minimise; None for the divergence above alone.
        steps: number of updates.
        batch_size: draws per update.
        learning_rate: Adam's, at the start; it falls to zero.
        pool: most draws of the teacher that are taken, once, where they are needed: for the start
            and for the terms of the objective that need samples. A tenth is held out to evaluate.
        seed: of initial weights, draws and noise.
        evaluate_every: steps between evaluations; each is followed by a checkpoint.
        directory: gets checkpoints, `metrics.csv` and TensorBoard events; a run that was stopped
            half way goes on from there to the same numbers. None to keep nothing.
        report: told of every step.

    Returns:
        The student, in the teacher's dtype and on its device.

    Raises:
        ImportError: the training extra is not installed.
        TypeError: an argument of the wrong type; what the teacher gives is no tensor.
        ValueError: an argument out of range; a teacher that lacks what the objective needs, or
            whose log density is not finite at the start; a student that does not fit the teacher.
        FloatingPointError: the training diverges.

    References:
        van den Oord et al. 2018, arXiv 1711.10433; Ping et al. 2019, arXiv 1807.07281.

    Example:
        >>> from invflow.flows import IAF, MAF
        >>> maf = MAF(features=2, transforms=1, hidden_features=(8,))
        >>> student = distill(maf, {"name": "iaf", "transforms": 1}, steps=5)
        >>> student().sample((3,)).shape
        torch.Size([3, 2])
    """
    teacher = as_teacher(teacher)
    objective = Objective() if objective is None else objective
    seed = _checks.integer("seed", seed)
    settings = training.Settings(
        steps=_checks.positive_integer("steps", steps),
        # Both halves of a batch have draws: see `mismatch`.
        batch_size=_checks.positive_integer("batch_size", batch_size, minimum=2),
        optimizer="adam",
        learning_rate=_positive("learning_rate", learning_rate),
        schedule="cosine",
        weight_decay=0.0,
        averaging_decay=0.0,
        max_gradient_norm=CLIP,
        seed=seed,
        evaluate_every=_checks.positive_integer("evaluate_every", evaluate_every),
    )
    pool = _checks.positive_integer("pool", pool, minimum=10)
    device, dtype = teacher.like.device, teacher.like.dtype
    if dtype not in PRECISIONS:
        raise ValueError(f"teacher must be of dtype float32 or float64, got {dtype}")
    draws = None
    if objective.needs_samples or not isinstance(student, Flow):
        draws = teacher.draws(pool, generator(device, seed, 0))
    if objective.needs_samples and draws is None:
        raise ValueError("teacher must have samples for the forward, moment and feature terms")
    flow = _student(student, teacher, draws, seed)
    aims = _aims(objective, teacher, draws)

    def loss(trained: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        del step
        return trained(aims[0], len(rows), noise)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        return {"loss": float(trained(aims[1], CHECK, generator(device, seed, 0, 1)))}

    trained = _Trained(flow)
    with torch.no_grad(), evaluating(flow):
        _check_start(evaluate(trained)["loss"])
    fabric = training.launch(device.type, precision=PRECISIONS[dtype])
    kept = None if directory is None else Path(directory)
    models = {"student": trained}
    training.fit(fabric, models, batch_size, loss, evaluate, settings, kept, report)
    return flow


class _Trained(nn.Module):
    """A student whose call is its loss, as the training loop wants it."""

    def __init__(self, student: Flow) -> None:
        super().__init__()
        self.student = student

    def forward(self, aim: Aim, count: int, noise: torch.Generator) -> Tensor:
        return aim.loss(self.student, count, noise)


def _student(
    student: str | Mapping[str, Any] | Flow, teacher: Teacher, draws: Draws | None, seed: int
) -> Flow:
    """Return the student as it starts.

    Raises:
        TypeError, ValueError: it does not fit the teacher.
    """
    like = teacher.like
    flow = student
    if not isinstance(flow, Flow):
        flow = _built(flow, teacher, draws, seed)
    if (flow.features, flow.context) != (teacher.features, teacher.context):
        raise ValueError(
            f"student must have {teacher.features} features and a context of {teacher.context}, "
            f"as the teacher has, got {flow.features} and {flow.context}"
        )
    if (flow.like.dtype, flow.like.device) != (like.dtype, like.device):
        raise ValueError(
            f"student must be of the teacher's dtype {like.dtype} and on its device {like.device}, "
            f"got {flow.like.dtype} on {flow.like.device}"
        )
    if not flow.base.has_rsample:
        raise ValueError(
            f"student must have reparameterised draws, got the base {type(flow.base).__name__}"
        )
    return flow


def _built(
    student: str | Mapping[str, Any], teacher: Teacher, draws: Draws | None, seed: int
) -> Flow:
    """Return a new flow, and after it a map to the mean and covariance of the teacher's draws."""
    config = {"name": student} if isinstance(student, str) else student
    if not isinstance(config, Mapping) or "name" not in config:
        raise TypeError(
            f'student must be a flow, a name or a mapping with a "name", got {student!r}'
        )
    sizes = {"features": teacher.features, "context": teacher.context}
    config = cast(dict[str, Any], {**sizes, **config})
    # The same weights on every device.
    inner = build(**config, generator=generator("cpu", seed, 0, 2))
    flow = Preconditioned(inner).to(teacher.like)
    if draws is not None and inner.features == teacher.features:
        flow.set(draws.x.mean(0), _scale(draws.x))
    return flow


def _scale(y: Tensor) -> Tensor:
    """Return the lower triangular scale of draws, (features, features).

    The whole covariance where there are draws enough to tell it, the standard deviations elsewhere.

    Raises:
        ValueError: draws that are not finite, or a feature that does not vary.
    """
    y = y.double()
    scale = deviations(y)
    if len(y) > 4 * y.shape[1]:
        correlation = torch.corrcoef(y.mT).reshape(y.shape[1], y.shape[1])
        lower, failed = torch.linalg.cholesky_ex(correlation)
        if not failed:
            return scale.unsqueeze(-1) * lower
    return scale.diag()


def _aims(objective: Objective, teacher: Teacher, draws: Draws | None) -> tuple[Aim, Aim]:
    """Return what to train by, and what to evaluate by, on held-out draws of the teacher."""
    if draws is None or not objective.needs_samples:
        aim = Aim(objective, teacher, None)
        return aim, aim
    held = max(1, len(draws.x) // 10)
    pool, check = draws.rows(slice(held, None)), draws.rows(slice(held))
    return Aim(objective, teacher, pool), Aim(objective, teacher, check)


def _check_start(loss: float) -> None:
    if loss != loss or loss in (float("inf"), -float("inf")):
        raise ValueError(
            f"the loss of the student at its start must be finite, got {loss}: is the teacher's "
            "density zero at some of its draws? A student needs the teacher's support"
        )


def _positive(name: str, value: float) -> float:
    found = _checks.number(name, value)
    if not 0 < found < float("inf"):
        raise ValueError(f"{name} must be positive and finite, got {value}")
    return found
