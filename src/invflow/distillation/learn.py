"""Distilling the density of a table into another flow."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from invflow.density.estimator import FlowDensity
from invflow.density.learning import draws
from invflow.density.learning.build import build
from invflow.distillation import FlowTeacher, Objective, distill
from invflow.distillation.config import Config
from invflow.flows import Flow
from invflow.training.batches import generator

#: Draws of the teacher whose log densities are the student's reference.
REFERENCE_DRAWS = 2000
#: Draws of the categories that a student is trained at.
CATEGORY_DRAWS = 10_000


def learn(
    density: FlowDensity,
    config: Config,
    contexts: Tensor | None = None,
    directory: Path | None = None,
    report: Callable[[int, str], None] = lambda step, line: None,
) -> FlowDensity:
    """Return a density of the same table, with another flow, distilled from the first.

    Both flows see the columns in the same encoding, so that a divergence of the flows is one of the
    densities in the units of the table. Missing values are filled by the imputer of the teacher,
    weighted by the student. The reference densities (`reference_`) are those of draws of the
    teacher, not of rows.

    Args:
        density: the teacher.
        config: the settings.
        contexts: to train at, shape (rows, context size), if the density is conditional.
        directory: for checkpoints and metrics, from which training resumes; None for none.
        report: called after every step.

    Raises:
        TypeError, ValueError: as `distill`.
        FloatingPointError: if the training diverges.

    Example:
        >>> rows = np.random.default_rng(0).normal(5.0, 0.1, (500, 2))
        >>> density = FlowDensity("maf", steps=20, random_state=0).fit(rows)
        >>> learn(density, Config(teacher="", steps=5)).sample(3, random_state=0).shape
        (3, 2)
    """
    student = untaught(density, config)
    distill(
        teacher(density, contexts),
        numbers(student),
        objective=objective(config),
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        evaluate_every=min(config.steps, 200),
        directory=directory,
        report=report,
    )
    student.reference_ = np.sort(_reference(density, student, contexts, config.seed))
    return student


def objective(config: Config) -> Objective:
    """Return the objective of a student.

    Raises:
        ValueError: if all weights are zero.
    """
    return Objective(reverse=config.reverse, forward=config.forward, moments=config.moments)


def untaught(density: FlowDensity, config: Config) -> FlowDensity:
    """Return the student before training: a density of the same table with a new flow.

    It shares the categories and the imputer of the teacher, and does not have a reference yet.

    Raises:
        TypeError, ValueError: if the flow is unknown, or its arguments are wrong, or if all
            features are categorical.
    """
    if density.model_.flow is None:
        raise ValueError("the density has only categorical columns, which have no flow to distil")
    options = {} if config.univariate is None else {"univariate": config.univariate}
    model, _ = build(
        density.columns_,
        config.seed,
        config.flow,
        config.transforms,
        config.hidden_features,
        options,
        networks=density.model_.networks,
    )
    for part in model.learned:
        part.to(density.model_.like.dtype)  # the encoding stays in float64
    model.categories = density.model_.categories
    student = copy(density).set_params(
        flow=config.flow,
        transforms=config.transforms,
        hidden_features=config.hidden_features,
        flow_options=options,
        ensemble=1,
    )
    student.settings_ = replace(
        density.settings_, hidden_features=config.hidden_features, ensemble=1
    )
    student.model_, student.curve_, student.reference_ = model.eval(), [], np.empty(0)
    return student


def teacher(density: FlowDensity, contexts: Tensor | None) -> FlowTeacher:
    """Return a density as a teacher for `distill`.

    Its flow is conditional on categories, which are drawn from the density. As the student has the
    same probabilities of categories, a divergence of the flows is one of the densities.
    """
    model, flow = density.model_, numbers(density)
    if model.categories is not None:
        given = torch.empty(CATEGORY_DRAWS, 0) if contexts is None else contexts
        codes = model.draw_codes(given, generator("cpu", 0, 4))
        contexts = model.given(given, codes)
    return FlowTeacher(flow, None if contexts is None else contexts.to(model.like))


def numbers(density: FlowDensity) -> Flow:
    """Return the flow of a density's numbers, a mixture if it is an ensemble."""
    return cast(Flow, density.model_.flow)


@torch.no_grad()
def _reference(
    density: FlowDensity, student: FlowDensity, contexts: Tensor | None, seed: int
) -> np.ndarray:
    """Return the student's log densities of draws of the teacher."""
    noise = generator("cpu", seed, 2)
    context = torch.empty(REFERENCE_DRAWS, 0, dtype=torch.float64)
    if contexts is not None:
        context = contexts[torch.randint(len(contexts), (REFERENCE_DRAWS,), generator=noise)]
    x = draws.draw(density.model_, context, noise)
    return student.model_.log_prob(x, context).numpy()
