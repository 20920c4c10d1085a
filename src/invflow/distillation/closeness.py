r"""How close a student q is to its teacher p, and how much faster it is to sample.

$$KL(q \| p) = E_{x \sim q}[\log q(x) - \log p(x)], \qquad
KL(p \| q) = E_{y \sim p}[\log p(y) - \log q(y)] .$$
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Distribution

from invflow import _checks
from invflow._modes import evaluating
from invflow.distillation.teacher import Draws, FlowTeacher, Teacher, as_teacher, check_fits
from invflow.flows import Flow, FlowMixture

#: Draws evaluated at once.
EVALUATED_AT_ONCE = 2048
#: Draws in a timed call, and the number of timed calls.
TIMED_DRAWS, TIMED_CALLS = 256, 7


@dataclass(frozen=True)
class Closeness:
    """Divergences between a student and its teacher in nats, with Monte Carlo standard errors.

    If the teacher's log density lacks a constant, log Z, `reverse` is too small by it and `forward`
    too large; their sum is correct.

    Attributes:
        reverse: KL(student || teacher), from draws of the student. It cannot detect modes that the
            student has dropped.
        reverse_error: its standard error.
        forward: KL(teacher || student), which detects them; NaN without samples of the teacher.
        forward_error: its standard error.
        effective: effective sample size of the importance weights p/q of the student's draws, as a
            fraction of their number.
        student_seconds: seconds per draw, in batches of `TIMED_DRAWS`.
        teacher_seconds: seconds per draw, in calls alternating with the student's; NaN if the
            teacher does not have a sampler.
        student: draws of the student, (count, features), and their contexts.
        teacher: draws of the teacher; None without samples.
        student_ratios: log q - log p at each draw of the student, (count,).
        teacher_ratios: log p - log q at each draw of the teacher; None without samples.
    """

    reverse: float
    reverse_error: float
    forward: float
    forward_error: float
    effective: float
    student_seconds: float
    teacher_seconds: float
    student: Draws = field(repr=False, compare=False)
    teacher: Draws | None = field(repr=False, compare=False)
    student_ratios: Tensor = field(repr=False, compare=False)
    teacher_ratios: Tensor | None = field(repr=False, compare=False)

    @property
    def symmetric(self) -> float:
        """The sum of both divergences, which does not depend on a constant of the log density."""
        return self.reverse + self.forward

    @property
    def speedup(self) -> float:
        """How many times faster the student is to sample."""
        return self.teacher_seconds / self.student_seconds


@torch.no_grad()
def closeness(
    teacher: Teacher | Flow | FlowMixture | Distribution,
    student: Flow,
    *,
    count: int = 10_000,
    seed: int = 0,
) -> Closeness:
    """Measure how close a student is to its teacher, and how fast both are to sample.

    The student, and a teacher that is a flow, are evaluated in evaluation mode.

    Args:
        teacher: the argument of `distill`; preferably, a `DensityTeacher` has samples here that
            were not used for training.
        student: the trained flow.
        count: draws of each; all samples if a `DensityTeacher` has fewer.
        seed: random seed.

    Raises:
        TypeError: if an argument has the wrong type, or the teacher does not return a tensor.
        ValueError: if the student and the teacher differ in size, there are fewer than two draws,
            or the log density of the teacher is NaN or infinite.

    Example:
        >>> from invflow.flows import IAF, MAF
        >>> found = closeness(MAF(features=2), IAF(features=2), count=100)
        >>> found.reverse >= -3 * found.reverse_error
        True
    """
    teacher = as_teacher(teacher)
    if not isinstance(student, Flow):
        raise TypeError(f"student must be a Flow, got {type(student).__name__}")
    check_fits(student, teacher)
    count = _checks.positive_integer("count", count, minimum=2)
    noise = torch.Generator(teacher.like.device).manual_seed(_checks.integer("seed", seed))
    with evaluating(student):
        x, log_ratio = _own(teacher, student, count, noise)
        y = teacher.draws(count, noise)
        other = None if y is None else _other(teacher, student, y)
        student_seconds, teacher_seconds = _timed(teacher, student, noise)
    weights = (-log_ratio).softmax(0)
    return Closeness(
        *_mean(log_ratio),
        *((math.nan, math.nan) if other is None else _mean(other)),
        effective=float(1 / weights.square().sum()) / count,
        student_seconds=student_seconds,
        teacher_seconds=teacher_seconds,
        student=x,
        teacher=y,
        student_ratios=log_ratio,
        teacher_ratios=other,
    )


def _own(
    teacher: Teacher, student: Flow, count: int, noise: torch.Generator
) -> tuple[Draws, Tensor]:
    """Return draws of the student, and log q - log p of each, (count,)."""
    context = teacher.at(count, noise)
    xs: list[Tensor] = []
    ratios: list[Tensor] = []
    for start in range(0, count, EVALUATED_AT_ONCE):
        size = min(EVALUATED_AT_ONCE, count - start)
        at = None if context is None else context[start : start + size]
        q = student(at, validate_args=False)
        x, log_q = q.rsample_and_log_prob((size,) if at is None else (), generator=noise)
        xs.append(x)
        ratios.append(log_q.double() - _density(teacher, x, at))
    return Draws(torch.cat(xs), context), torch.cat(ratios)


def _other(teacher: Teacher, student: Flow, draws: Draws) -> Tensor:
    """Return log p - log q of the teacher's draws, (rows,)."""
    ratios: list[Tensor] = []
    for start in range(0, len(draws.x), EVALUATED_AT_ONCE):
        y, context = draws.rows(slice(start, start + EVALUATED_AT_ONCE))
        log_q = student(context, validate_args=False).log_prob(y).double()
        # Outside the student's support its inverse is NaN, and its density zero.
        log_q = torch.where(log_q.isnan(), -torch.inf, log_q)
        ratios.append(_density(teacher, y, context) - log_q)
    return torch.cat(ratios)


def _density(teacher: Teacher, x: Tensor, context: Tensor | None) -> Tensor:
    """Return the teacher's log density, (rows,); minus infinity for a density of zero.

    Raises:
        ValueError: if it is NaN or plus infinity.
    """
    log_p = teacher.log_prob(x, context).double()
    bad = log_p.isnan() | log_p.isposinf()
    if bad.any():
        raise ValueError(
            "log_density of the teacher must be finite or minus infinity, got NaN or infinity at "
            f"{int(bad.sum())} of {len(log_p)} draws"
        )
    return log_p


def _mean(values: Tensor) -> tuple[float, float]:
    """Return the mean and its standard error."""
    return float(values.mean()), float(values.std()) / math.sqrt(len(values))


def _timed(teacher: Teacher, student: Flow, noise: torch.Generator) -> tuple[float, float]:
    """Return seconds per draw of the student and the teacher, alternating, after a warm-up."""
    context = teacher.at(TIMED_DRAWS, noise)
    shape = (TIMED_DRAWS,) if context is None else ()

    def own() -> Tensor:
        return student(context, validate_args=False).sample(shape, generator=noise)

    def others() -> Tensor:
        draws = teacher.draws(TIMED_DRAWS, noise)
        return torch.empty(1) if draws is None else draws.x

    calls = [(_seconds(own), _seconds(others)) for _ in range(TIMED_CALLS + 1)][1:]
    student_seconds, teacher_seconds = (
        statistics.median(each) for each in zip(*calls, strict=True)
    )
    if not isinstance(teacher, FlowTeacher):
        teacher_seconds = math.nan
    return student_seconds / TIMED_DRAWS, teacher_seconds / TIMED_DRAWS


def _seconds(call: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    call().flatten()[0].item()  # waits for an accelerator
    return time.perf_counter() - start
