r"""The scalar equation of the planar and Sylvester transforms: $a + s \tanh a = t$.

For s > -1 the left-hand side f increases, so there is exactly one root, with the sign of t. Let
t >= 0. For s >= 0, f is concave there and Newton's method converges from any point below the root;
for s < 0, f is convex and it converges from any point above. It remains to start close enough for a
few steps to suffice:

- s >= 0: $\tanh a \le a$ and $\tanh a \le 1$ give $a \ge t / (1 + s)$ and $a \ge t - s$. If s is
  large and t close to s, both can be far off. There $\tanh a \le 1 - e^{-2a}$ gives
  $a - s e^{-2a} \ge t - s =: d$, and then with $d_+ = \max(d, 0)$, $d_- = \max(-d, 0)$,
  $s' = s e^{-2 d_+}$
  $$a \ge d_+ + \tfrac12 \log \frac{s'}{1 + \tfrac12 \log(1 + s') + d_-}.$$
- s < 0: $\tanh a \le 1$ gives $a \le t - s$, and $\tanh a \le a$ gives $a \le t / (1 + s)$. If s
  is close to -1 and t small, both can be far off. There $a - \tanh a \ge a^3 / (3 + 1.2 a^2)$ gives
  $a \le t + (4.2 t)^{1/3}$.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Seven with the two differentiable steps: enough for rounding at all s and t in float64.
_STEPS = 5


def slope(a: Tensor, positive: Tensor) -> Tensor:
    """Return d(a + s tanh a)/da for s = positive - 1, as a sum of positive terms."""
    return torch.tanh(a).square() + positive * 4 * torch.sigmoid(2 * a) * torch.sigmoid(-2 * a)


def solve(positive: Tensor, target: Tensor) -> Tensor:
    """Return the a where a + s tanh a = `target`, for s = positive - 1.

    The root is found without a graph. Two differentiable Newton steps from there make the
    derivatives exact up to the third, because each step doubles the order.

    Args:
        positive: 1 + s, positive, any shape that broadcasts against `target`.
        target: any shape.

    Example:
        >>> solve(torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.0]))
        tensor([0.5000, 0.0000])
    """
    with torch.no_grad():
        a = _root(positive.detach(), target.detach().abs())
        a = torch.where(target < 0, -a, a)
    for _ in range(2):
        a = _newton(a, positive, target)
    return a


def _newton(a: Tensor, positive: Tensor, target: Tensor) -> Tensor:
    return a - (a + (positive - 1) * torch.tanh(a) - target) / slope(a, positive)


def _root(positive: Tensor, target: Tensor) -> Tensor:
    """Solve for a target of at least zero."""
    s = positive - 1
    beyond = target - s
    over = s.clamp(min=0) * torch.exp(-2 * beyond.clamp(min=0))
    level = 1 + torch.log1p(over) / 2 + (-beyond).clamp(min=0)
    low = torch.maximum(target / positive, beyond)
    # Slightly less, because rounding may make it too large where it is not needed.
    low = torch.maximum(low, beyond.clamp(min=0) + torch.log(over / level) / 2 - 0.1)
    high = torch.minimum(target / positive, target + torch.minimum(-s, (4.2 * target) ** (1 / 3)))
    # Concave: between low and the target. Convex: between the target and high.
    concave = s >= 0
    a = torch.where(concave, low, high)
    low, high = torch.where(concave, low, target), torch.where(concave, target, high)
    for _ in range(_STEPS):
        a = torch.minimum(torch.maximum(_newton(a, positive, target), low), high)
    return a
