"""Activations by name, each with its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Activation(NamedTuple):
    """An elementwise function and its derivative, both of the pre-activation."""

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]


def _relu_slope(a: Tensor) -> Tensor:
    return (a > 0).to(a.dtype)


def _leaky_relu_slope(a: Tensor) -> Tensor:
    return torch.where(a > 0, torch.ones_like(a), 0.01)


def _elu_slope(a: Tensor) -> Tensor:
    return torch.exp(a.clamp(max=0))


def _tanh_slope(a: Tensor) -> Tensor:
    return 1 - torch.tanh(a).square()


def _sigmoid_slope(a: Tensor) -> Tensor:
    value = torch.sigmoid(a)
    return value * (1 - value)


def _silu_slope(a: Tensor) -> Tensor:
    gate = torch.sigmoid(a)
    return gate * (1 + a * (1 - gate))


def _gelu_slope(a: Tensor) -> Tensor:
    density = torch.exp(-0.5 * a.square()) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(a / math.sqrt(2))) + a * density


#: Every activation, by name.
ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(F.relu, _relu_slope),
    "leaky_relu": Activation(F.leaky_relu, _leaky_relu_slope),
    "elu": Activation(F.elu, _elu_slope),
    "tanh": Activation(torch.tanh, _tanh_slope),
    "sigmoid": Activation(torch.sigmoid, _sigmoid_slope),
    "softplus": Activation(F.softplus, torch.sigmoid),
    "silu": Activation(F.silu, _silu_slope),
    "gelu": Activation(F.gelu, _gelu_slope),
}
