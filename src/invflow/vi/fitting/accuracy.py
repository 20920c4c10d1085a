"""When an approximation is good enough to stop."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from invflow.vi.trust.importance import importance

Accuracy = Literal["standard", "high"]
#: At "standard": pairs of a fraction of effective draws to be reached, and of a bound on k-hat.
STANDARD = ((0.9, 0.5), (0.95, 0.7))
#: At "high": nats between the bound and the evidence. 99.9 % of the draws are effective.
NEGLIGIBLE_GAP = 5e-4


def reached(accuracy: Accuracy, log_weights: Tensor) -> bool:
    """Return whether the log weights of an approximation's draws, (draws,), show the accuracy."""
    some = log_weights[torch.isfinite(log_weights)]
    if len(some) < 2:
        return False
    if accuracy == "high":
        gap = some.logsumexp(0) - math.log(len(some)) - some.mean()
        return float(gap) < NEGLIGIBLE_GAP
    effective = 1 / float(log_weights.softmax(0).square().sum()) / len(log_weights)
    if effective < min(share for share, _ in STANDARD):
        return False
    khat = importance(log_weights, torch.zeros_like(log_weights)).khat
    return any(effective >= share and khat < most for share, most in STANDARD)
