"""The training of a student, and where it starts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from invflow import _checks, training
from invflow._log_density import check_consistent
from invflow._modes import evaluating
from invflow.distillation.losses import Aim, Objective, deviations
from invflow.distillation.teacher import Draws, Teacher, as_teacher, check_fits
from invflow.flows import Flow, FlowMixture, Preconditioned, build
from invflow.training.batches import generator

#: Fabric's names of the dtypes that can be trained.
PRECISIONS = {torch.float32: "32-true", torch.float64: "64-true"}
#: Draws on which the student is evaluated.
EVALUATED_DRAWS = 2048
#: Draws of the new student at which the teacher's log density is tried.
TRIED_DRAWS = 32
MAX_GRADIENT_NORM = 50.0


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
    r"""Train a flow that is fast to sample to match a density.

    By default the student minimises its divergence from the teacher,

    $$KL(q \| p) = E_{x \sim q}[\log q(x) - \log p(x)],$$

    for which an IAF gives draws and their log density in one pass. This divergence may drop modes
    of the teacher without showing it: `closeness` also measures the other one, and
    `Objective(forward=...)` minimises it.

    A student given by name starts from the mean and covariance of the teacher's samples, if there
    are any; a student given as a flow starts from its current weights. The weights with the best
    evaluation are kept.

    Args:
        teacher: a flow or distribution, a `FlowTeacher` with contexts, or a `DensityTeacher`.
        student: the name of a flow, a mapping with the "name" and arguments of one, or a flow,
            which is trained in place. It takes the context of the teacher.
        objective: what to minimise; None for the divergence above.
        steps: number of updates.
        batch_size: draws per update.
        learning_rate: Adam's initial learning rate; it decays to zero.
        pool: largest number of draws of the teacher, taken once, if they are needed for the start
            or for terms of the objective. A tenth of them is held out for evaluation.
        seed: random seed of initial weights, draws and noise.
        evaluate_every: steps between evaluations; a checkpoint follows each.
        directory: for checkpoints, `metrics.csv` and TensorBoard events. An interrupted run resumes
            from there with identical results. None to write nothing.
        report: called after every step.

    Returns:
        The student, in the teacher's dtype and on its device.

    Raises:
        ImportError: if the training extra is not installed.
        TypeError: if an argument has the wrong type, or the teacher does not return a tensor.
        ValueError: if an argument is out of range; if the teacher does not have the samples that
            the objective needs; if its log density is random, mixes the vectors of a batch, or is
            not finite at the start; if the student does not fit the teacher; if the directory
            holds checkpoints of another training.
        FloatingPointError: if the training diverges.

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
    if not isinstance(objective, Objective):
        raise TypeError(f"objective must be an Objective, got {type(objective).__name__}")
    seed = _checks.integer("seed", seed)
    settings = training.Settings(
        steps=_checks.positive_integer("steps", steps),
        # Both halves of a batch need draws: see `mismatch`.
        batch_size=_checks.positive_integer("batch_size", batch_size, minimum=2),
        optimizer="adam",
        learning_rate=_checks.positive("learning_rate", learning_rate),
        schedule="cosine",
        weight_decay=0.0,
        averaging_decay=0.0,
        max_gradient_norm=MAX_GRADIENT_NORM,
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
        raise ValueError(
            "teacher must have samples for the forward, moments and features terms of the "
            "objective; give a DensityTeacher samples"
        )
    flow = _student(student, teacher, draws, seed)
    aims = _aims(objective, teacher, draws)

    def loss(trained: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        del step
        return trained(aims[0], len(rows), noise)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        return {"loss": float(trained(aims[1], EVALUATED_DRAWS, generator(device, seed, 0, 1)))}

    trained = _Trained(flow)
    with torch.no_grad(), evaluating(flow):
        _try_out(teacher, flow, generator(device, seed, 0, 3))
        start = evaluate(trained)["loss"]
    _check_start(start)
    fabric = training.launch(device.type, precision=PRECISIONS[dtype])
    kept = None if directory is None else Path(directory)
    models = {"student": trained}
    # The loss of the untrained student tells teachers, students and objectives apart. That of a
    # given flow need not be the same when a script is run again.
    of = "" if isinstance(student, Flow) else f"{start:.4g}"
    training.fit(fabric, models, batch_size, loss, evaluate, settings, kept, report, of=of)
    return flow


class _Trained(nn.Module):
    """A student as a module that returns its loss, as the training loop needs it."""

    def __init__(self, student: Flow) -> None:
        super().__init__()
        self.student = student

    def forward(self, aim: Aim, count: int, noise: torch.Generator) -> Tensor:
        return aim.loss(self.student, count, noise)


def _student(
    student: str | Mapping[str, Any] | Flow, teacher: Teacher, draws: Draws | None, seed: int
) -> Flow:
    """Return the student before training.

    Raises:
        TypeError, ValueError: if it does not fit the teacher.
    """
    like = teacher.like
    flow = student
    if not isinstance(flow, Flow):
        flow = _built(flow, teacher, draws, seed)
    check_fits(flow, teacher)
    if (flow.like.dtype, flow.like.device) != (like.dtype, like.device):
        raise ValueError(
            f"student must have the teacher's dtype {like.dtype} and be on its device "
            f"{like.device}, got {flow.like.dtype} on {flow.like.device}"
        )
    if not flow.base.has_rsample:
        raise ValueError(
            f"student must have a base with reparameterised samples, got {type(flow.base).__name__}"
        )
    return flow


def _built(
    student: str | Mapping[str, Any], teacher: Teacher, draws: Draws | None, seed: int
) -> Flow:
    """Return a new flow, followed by a map to the mean and covariance of the teacher's draws."""
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

    It is the Cholesky factor of the covariance if there are enough draws to estimate this,
    otherwise the standard deviations.

    Raises:
        ValueError: if draws are not finite, or a feature does not vary.
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
    """Return the aims of training and of evaluation, the latter on held-out draws."""
    if draws is None or not objective.needs_samples:
        aim = Aim(objective, teacher, None)
        return aim, aim
    held = max(1, len(draws.x) // 10)
    pool, check = draws.rows(slice(held, None)), draws.rows(slice(held))
    return Aim(objective, teacher, pool), Aim(objective, teacher, check)


def _try_out(teacher: Teacher, student: Flow, noise: torch.Generator) -> None:
    """Check the teacher's log density at draws of the new student.

    Raises:
        ValueError: if it is random, or mixes the vectors of a batch.
    """
    context = teacher.at(TRIED_DRAWS, noise)
    shape = (TRIED_DRAWS,) if context is None else ()
    draws = Draws(student(context, validate_args=False).sample(shape, generator=noise), context)
    check_consistent(teacher.log_prob(*draws), lambda rows: teacher.log_prob(*draws.rows(rows)))


def _check_start(loss: float) -> None:
    if not math.isfinite(loss):
        raise ValueError(
            f"the loss of the new student must be finite, got {loss}: is the teacher's density "
            "zero at some of its draws? The student must not reach beyond the teacher's support"
        )
