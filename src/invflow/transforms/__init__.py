"""Invertible maps of vectors."""

from invflow.transforms.autoregressive import Autoregressive
from invflow.transforms.base import Transform
from invflow.transforms.compose import Compose, Inverse
from invflow.transforms.elementwise import Elementwise
from invflow.transforms.permutation import Permutation, orders
from invflow.transforms.triangular import UnitTriangular

__all__ = [
    "Autoregressive",
    "Compose",
    "Elementwise",
    "Inverse",
    "Permutation",
    "Transform",
    "UnitTriangular",
    "orders",
]
