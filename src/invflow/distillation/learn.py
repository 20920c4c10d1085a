"""A density of a table taught to another flow."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from invflow.density.estimator import FlowDensity
from invflow.density.learning import draws
from invflow.density.learning.build import build
from invflow.distillation import FlowTeacher, Objective, distill
from invflow.distillation.config import Config
from invflow.training.batches import generator

#: Draws of the teacher whose log densities say what is usual.
REFERENCE = 2000


def learn(
    density: FlowDensity,
    config: Config,
    contexts: Tensor | None = None,
    directory: Path | None = None,
    report: Callable[[int, str], None] = lambda step, line: None,
) -> FlowDensity:
    """Return a density of the same table, with another flow, taught by the first.

    Both flows see the columns in the same encoding, so that a divergence of the flows is one of the
    densities in the units of the table. What fills gaps stays the teacher's, with weights by the
    student. What is usual (`reference_`) is what draws of the teacher are, not rows.

    Args:
        density: the teacher.
        config: the settings.
        contexts: to learn at, shape (rows, context size), where the density is conditional.
        directory: keeps checkpoints and metrics, and is where to go on from; None to keep nothing.
        report: told of every step.

    Raises:
        TypeError, ValueError: as `distill`.
        FloatingPointError: the training diverges.

    Example:
        >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (500, 2))
        >>> density = FlowDensity("maf", steps=20, random_state=0).fit(rows)
        >>> learn(density, Config(teacher="", steps=5)).sample(3, random_state=0).shape
        (3, 2)
    """
    student = untaught(density, config)
    distill(
        teacher(density, contexts),
        student.model_.flow,
        objective=objective(config),
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        evaluate_every=min(config.steps, 200),
        directory=directory,
        report=report,
    )
    student.reference_ = np.sort(_usual(density, student, contexts, config.seed))
    return student


def objective(config: Config) -> Objective:
    """Return what a student minimises.

    Raises:
        ValueError: all weights are zero.
    """
    return Objective(reverse=config.reverse, forward=config.forward, moments=config.moments)


def untaught(density: FlowDensity, config: Config) -> FlowDensity:
    """Return the student before it has learned anything: the same table, with a new flow.

    What fills gaps is shared. Nothing is known of what is usual.

    Raises:
        TypeError, ValueError: no such flow, or wrong arguments.
    """
    options = {} if config.univariate is None else {"univariate": config.univariate}
    model, _ = build(
        density.columns_,
        config.seed,
        config.flow,
        config.transforms,
        config.hidden_features,
        options,
    )
    model.flow.to(density.model_.flow.like.dtype)  # what is known of the table stays in float64
    student = copy(density).set_params(
        flow=config.flow,
        transforms=config.transforms,
        hidden_features=config.hidden_features,
        flow_options=options,
    )
    student.model_, student.curve_, student.reference_ = model.eval(), [], np.empty(0)
    return student


def teacher(density: FlowDensity, contexts: Tensor | None) -> FlowTeacher:
    """Return a density as `distill` wants it."""
    flow = density.model_.flow
    return FlowTeacher(flow, None if contexts is None else contexts.to(flow.like))


@torch.no_grad()
def _usual(
    density: FlowDensity, student: FlowDensity, contexts: Tensor | None, seed: int
) -> np.ndarray:
    """Return the student's log densities of draws of the teacher."""
    noise = generator("cpu", seed, 2)
    context = torch.empty(REFERENCE, 0, dtype=torch.float64)
    if contexts is not None:
        context = contexts[torch.randint(len(contexts), (REFERENCE,), generator=noise)]
    x = draws.draw(density.model_, context, noise)
    return student.model_.log_prob(x, context).numpy()
