"""By how much a log-likelihood from importance samples is too low."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Numbers of parts into which the importance samples are divided.
PARTS = (1, 4, 16)


def nested(log_w: Tensor) -> Tensor:
    """Return the log-likelihoods from all importance samples, from fourths and from sixteenths.

    Those from parts are averaged over the parts, weighted by their sizes, which differ by one at
    most. All of them use all samples, and are computed in double precision: where weights hardly
    vary, their differences are smaller than the noise of a few samples or the rounding of single
    precision, which look like a rise that does not slow down.

    Args:
        log_w: log-weights, (samples, images).

    Returns:
        Log-likelihoods in nats, (`rows(samples)`, images), float64.

    Example:
        >>> nested(torch.zeros(32, 2)).shape
        torch.Size([3, 2])
    """
    log_w = log_w.double()
    found: list[Tensor] = []
    for parts in PARTS[: rows(len(log_w))]:
        each = [
            len(part) * (part.logsumexp(0) - math.log(len(part)))
            for part in log_w.tensor_split(parts)
        ]
        found.append(torch.stack(each).sum(0) / len(log_w))
    return torch.stack(found)


def rows(samples: int) -> int:
    """Return how many log-likelihoods `nested` gives: 3, or 1 with fewer than 16 samples.

    Example:
        >>> rows(15), rows(16)
        (1, 3)
    """
    return len(PARTS) if samples >= max(PARTS) else 1


def shortfall(log_likelihood: Tensor, fewer: Tensor) -> float:
    r"""Return roughly how far an importance-sampled log-likelihood is below the true one.

    Let the mean estimate rise by $d_1$ from S/16 to S/4 samples and by $d_2$ from S/4 to S. If four
    times the samples always divide the rise by the same factor, what is left after S is

    $$d_2 \frac{r}{1 - r}, \qquad r = d_2 / d_1$$

    (Aitken's extrapolation). Weights of finite variance have r = 1/4 (Burda et al. 2016: the bias
    falls like 1/S), and no smaller r is believed. Heavier tails, as those of a posterior that is
    too narrow, have a larger r: there the effective sample size, and the rise from S/2 to S, show
    only a fraction of what is left.

    Args:
        log_likelihood: with S samples, (images,).
        fewer: with S/4 and with S/16 samples, (2, images); (0, images) if S is below 16.

    Returns:
        Nats per image; infinity where the rise does not slow down, NaN without `fewer`.

    Example:
        >>> shortfall(torch.tensor([-10.0]), torch.tensor([[-10.25], [-10.75]]))
        0.25
    """
    if not len(fewer):
        return math.nan
    whole, fourth, sixteenth = (float(each.double().mean()) for each in (log_likelihood, *fewer))
    before, last = fourth - sixteenth, whole - fourth
    if last <= 0:
        return 0.0
    ratio = max(0.25, last / before) if before > 0 else 1.0
    return last * ratio / (1 - ratio) if ratio < 1 else math.inf
