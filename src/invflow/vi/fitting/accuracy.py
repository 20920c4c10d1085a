"""When an approximation is good enough to stop."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from invflow.vi.trust.importance import importance

Accuracy = Literal["standard", "high"]
#: At "standard": the fraction of effective draws to be reached, and a bound on k-hat, below which
#: the weights have a variance.
EFFECTIVE, MOST_KHAT = 0.9, 0.5
#: At "high": nats between the bound and the evidence. 99.9 % of the draws are effective.
NEGLIGIBLE_GAP = 5e-4
#: Fraction of the posterior in the tail of the weights below which its shape does not matter.
NEGLIGIBLE_TAIL = 1e-3


def reached(accuracy: Accuracy, log_weights: Tensor) -> bool:
    """Return whether the log weights of an approximation's draws, (draws,), show the accuracy."""
    some = log_weights[torch.isfinite(log_weights)]
    if len(some) < 2:
        return False
    found = importance(log_weights, torch.zeros_like(log_weights))
    light = found.khat < MOST_KHAT or found.tail < NEGLIGIBLE_TAIL
    if accuracy == "standard":
        return light and found.effective >= EFFECTIVE
    return light and float(some.logsumexp(0) - math.log(len(some)) - some.mean()) < NEGLIGIBLE_GAP


def effective(log_weights: Tensor) -> float:
    """Return the effective fraction of draws with some log weights, (draws,)."""
    return 1 / float(log_weights.softmax(0).square().sum()) / len(log_weights)
