"""When an approximation is good enough to stop."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from invflow.flows import Flow, FlowMixture
from invflow.vi.targets.density import Density
from invflow.vi.trust.importance import FINITE_VARIANCE_KHAT, NEAR_EXACT, importance

Accuracy = Literal["standard", "high"]
#: Fraction of the draws that has to be effective.
EFFECTIVE, HIGHLY_EFFECTIVE = 0.9, 0.999
#: Fraction from which their weights need no variance; what k-hat has to be below, or the fraction
#: of the posterior in the tail, with a margin to what a good verdict on other draws asks.
NEARLY_ALL, LIGHT_KHAT, LIGHT_TAIL = 0.97, 0.6, 2.5e-3
#: At "high": nats between the bound and the evidence, where 99.9 % of the draws are effective, and
#: the fraction of the posterior in the tail of nearly equal weights.
NEGLIGIBLE_GAP, NEGLIGIBLE_TAIL = 5e-4, 1e-3
#: Draws that confirm that an approximation is accurate, after those on which it seems to be.
CONFIRMING_DRAWS = 8192


def reached(accuracy: Accuracy, log_weights: Tensor) -> bool:
    """Return whether the log weights of an approximation's draws, (draws,), show the accuracy.

    The closer weights are to each other, the less it matters how the tail of their distribution
    falls.
    """
    if len(log_weights) < 2:
        return False
    found = importance(log_weights, torch.zeros_like(log_weights))
    if found.effective < EFFECTIVE:
        return False
    equal, variance = found.effective > NEAR_EXACT, found.khat < FINITE_VARIANCE_KHAT
    if accuracy == "standard":
        nearly = found.effective > NEARLY_ALL and found.khat < LIGHT_KHAT
        return variance or nearly or (equal and found.tail < LIGHT_TAIL)
    light = variance or (equal and found.tail < NEGLIGIBLE_TAIL)
    return light and found.log_evidence - found.elbo < NEGLIGIBLE_GAP


@torch.no_grad()
def confirmed(flow: Flow | FlowMixture, density: Density, accuracy: Accuracy, seed: int) -> bool:
    """Return whether a flow is accurate on draws of its own: k-hat of few draws may be lucky."""
    q, generator = flow(validate_args=False), torch.Generator().manual_seed(seed)
    x = q.sample((CONFIRMING_DRAWS,), generator=generator)
    return reached(accuracy, density.exact(x) - q.log_prob(x))


def standing(accuracy: Accuracy, effective: float) -> str:
    """Return how many of the draws are effective, and what is waited for, for the user to see."""
    wanted = EFFECTIVE if accuracy == "standard" else HIGHLY_EFFECTIVE
    waiting = "lighter tails" if effective >= wanted else f"{100 * wanted:.3g}%"
    return f"{math.floor(1000 * effective) / 10}% effective, waiting for {waiting}"


def effective(log_weights: Tensor) -> float:
    """Return the effective fraction of draws with some log weights, (draws,), for the user to see.

    Unlike that of `importance`, it is not smoothed.
    """
    return 1 / float(log_weights.softmax(0).square().sum()) / len(log_weights)
