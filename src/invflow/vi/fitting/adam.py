"""Adam on all parameters of a module as one vector.

The first of PyTorch's optimizers imports its compiler, for which a first fit would have to wait.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

#: Decays of the averages of gradients and of their squares, and what is added to the root.
DECAYS, EPSILON = (0.9, 0.999), 1e-8


class Adam:
    r"""The optimizer of Kingma and Ba (2015, arXiv 1412.6980), algorithm 1.

    $$m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2,
    \quad \theta \leftarrow \theta - \eta\, \frac{m / (1 - \beta_1^t)}
    {\sqrt{v / (1 - \beta_2^t)} + \epsilon} .$$

    Args:
        module: whose parameters are learned.
        learning_rate: the step size.

    Attributes:
        value: the parameters, (numbers,).
        learning_rate: the step size, which may be changed.
    """

    def __init__(self, module: nn.Module, learning_rate: float) -> None:
        self._parameters = [each for each in module.parameters() if each.requires_grad]
        self.learning_rate = learning_rate
        self.value = torch.cat([each.detach().flatten() for each in self._parameters])
        self._mean, self._square = torch.zeros_like(self.value), torch.zeros_like(self.value)
        self._root = torch.empty_like(self.value)
        self._steps = 0

    def gradient(self, loss: Tensor) -> Tensor:
        """Return the gradient of a loss, (numbers,)."""
        parts = torch.autograd.grad(
            loss, self._parameters, allow_unused=True, materialize_grads=True
        )
        return torch.cat([part.flatten() for part in parts])

    def step(self, gradient: Tensor) -> None:
        """Take a step against a gradient, (numbers,)."""
        self._steps += 1
        fast, slow = DECAYS
        self._mean.lerp_(gradient, 1 - fast)
        self._square.mul_(slow).addcmul_(gradient, gradient, value=1 - slow)
        root = torch.sqrt(self._square, out=self._root)
        root.div_(math.sqrt(1 - slow**self._steps)).add_(EPSILON)
        rate = self.learning_rate / (1 - fast**self._steps)
        self.put(self.value.addcdiv_(self._mean, root, value=-rate))

    @torch.no_grad()
    def put(self, value: Tensor) -> None:
        """Give the module's parameters some values, (numbers,)."""
        parts = value.split([each.numel() for each in self._parameters])
        for parameter, part in zip(self._parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))

    def state_dict(self) -> dict[str, Any]:
        """Return all that its steps depend on."""
        return {
            "value": self.value,
            "mean": self._mean,
            "square": self._square,
            "steps": self._steps,
            "learning_rate": self.learning_rate,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the state that `state_dict` has returned."""
        self._steps, self.learning_rate = (
            int(state_dict["steps"]),
            float(state_dict["learning_rate"]),
        )
        self.value, self._mean, self._square = (
            state_dict[name].clone() for name in ("value", "mean", "square")
        )
        self.put(self.value)
