"""Invertible maps of vectors."""

from invflow.transforms.actnorm import ActNorm
from invflow.transforms.autoregressive import Autoregressive
from invflow.transforms.base import Transform
from invflow.transforms.batchnorm import BatchNorm
from invflow.transforms.bounded import Sigmoid, Softplus
from invflow.transforms.compose import Compose, Inverse
from invflow.transforms.coupling import Coupling, masks
from invflow.transforms.elementwise import Elementwise
from invflow.transforms.linear import LULinear
from invflow.transforms.permutation import Permutation, orders
from invflow.transforms.rotation import Rotation

__all__ = [
    "ActNorm",
    "Autoregressive",
    "BatchNorm",
    "Compose",
    "Coupling",
    "Elementwise",
    "Inverse",
    "LULinear",
    "Permutation",
    "Rotation",
    "Sigmoid",
    "Softplus",
    "Transform",
    "masks",
    "orders",
]
