"""Noise taken out of vectors by the gradient of their density."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution

from invflow import _checks


def denoised(q: Distribution, x: Tensor, deviation: float) -> Tensor:
    r"""Return the mean of clean vectors given noisy ones, under a density of noisy vectors.

    If q is the density of $x = y + \sigma \epsilon$ with standard normal $\epsilon$, then (Tweedie)

    $$E[y | x] = x + \sigma^2\, \nabla_x \log q(x)$$

    A flow trained on images with added noise samples noisy images; this gives clean ones.

    Args:
        q: the density, such as a flow's.
        x: noisy vectors, shape (*batch, features).
        deviation: $\sigma$, of the noise in each entry.

    Returns:
        Shaped like `x`, without a gradient.

    Raises:
        TypeError: if `deviation` is not a number, or `x` is not a tensor of floating-point numbers.
        ValueError: if `deviation` is not positive and finite.
        RuntimeError: under `torch.inference_mode`, which has no gradients.

    References:
        Robbins 1956; for flows: Zhai et al. 2024, arXiv 2412.06329, section 3.3.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> noisy = Independent(Normal(torch.zeros(2), torch.tensor([2.0, 1.0])), 1)
        >>> denoised(noisy, torch.tensor([4.0, 3.0]), deviation=1.0)
        tensor([3., 0.])
    """
    deviation = _checks.positive("deviation", deviation)
    if not isinstance(x, Tensor) or not x.is_floating_point():
        found = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a tensor of floating-point numbers, got {found}")
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "denoised takes a gradient, got a call under torch.inference_mode: use torch.no_grad"
        )
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        (score,) = torch.autograd.grad(q.log_prob(x).sum(), x)
    return x.detach() + deviation**2 * score
