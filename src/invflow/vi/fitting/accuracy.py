"""When an approximation is good enough to stop."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from invflow.flows import Flow, FlowMixture
from invflow.vi.targets.density import Density
from invflow.vi.trust.importance import FINITE_VARIANCE_KHAT, NEAR_EXACT, importance

Accuracy = Literal["standard", "high"]
#: Fraction of effective draws, and the fraction from which their weights need no variance.
EFFECTIVE, NEARLY_ALL = 0.9, 0.97
#: At "high": that fraction, the nats between the bound and the evidence that correspond to it, and
#: the fraction of the posterior in the tail of nearly equal weights.
HIGH, NEGLIGIBLE_GAP, NEGLIGIBLE_TAIL = 0.999, 5e-4, 1e-3
#: Draws that confirm that an approximation is accurate, after those on which it seems to be.
CONFIRMING_DRAWS = 8192


def reached(accuracy: Accuracy, log_weights: Tensor) -> bool:
    """Return whether the log weights of an approximation's draws, (draws,), show the accuracy.

    The closer weights are to each other, the less it matters how the tail of their distribution
    falls: with 97 % effective, "standard" asks of the tail what a good verdict asks.
    """
    if len(log_weights) < 2:
        return False
    found = importance(log_weights, torch.zeros_like(log_weights))
    if found.effective < EFFECTIVE:
        return False
    variance = found.khat < FINITE_VARIANCE_KHAT
    if accuracy == "standard":
        return variance or (found.effective > NEARLY_ALL and found.light)
    equal = found.effective > NEAR_EXACT and found.tail < NEGLIGIBLE_TAIL
    return (variance or equal) and found.log_evidence - found.elbo < NEGLIGIBLE_GAP


@torch.no_grad()
def confirmed(flow: Flow | FlowMixture, density: Density, accuracy: Accuracy, seed: int) -> bool:
    """Return whether a flow is accurate on draws of its own: k-hat of few draws may be lucky."""
    q, generator = flow(validate_args=False), torch.Generator().manual_seed(seed)
    x = q.sample((CONFIRMING_DRAWS,), generator=generator)
    return reached(accuracy, density.exact(x) - q.log_prob(x))


def standing(accuracy: Accuracy, effective: float) -> str:
    """Return how many of the draws are effective, and how many have to be, for the user to see."""
    wanted = EFFECTIVE if accuracy == "standard" else HIGH
    waiting = f", waiting for {100 * wanted:.3g}%" if effective < wanted else ""
    return f"{effective:.1%} effective{waiting}"


def effective(log_weights: Tensor) -> float:
    """Return the effective fraction of draws with some log weights, (draws,), for the user to see.

    Unlike that of `importance`, it is not smoothed.
    """
    return 1 / float(log_weights.softmax(0).square().sum()) / len(log_weights)
