"""Invertible maps of vectors."""

from invflow.transforms.autoregressive import Autoregressive
from invflow.transforms.base import Transform
from invflow.transforms.basis import BASES, Basis, Orthogonal, Permuted, Reflected
from invflow.transforms.compose import Compose, Inverse
from invflow.transforms.elementwise import Elementwise
from invflow.transforms.householder import Householder
from invflow.transforms.permutation import Permutation, orders
from invflow.transforms.planar import Planar
from invflow.transforms.radial import Radial
from invflow.transforms.sylvester import Sylvester
from invflow.transforms.triangular import UnitTriangular

__all__ = [
    "BASES",
    "Autoregressive",
    "Basis",
    "Compose",
    "Elementwise",
    "Householder",
    "Inverse",
    "Orthogonal",
    "Permutation",
    "Permuted",
    "Planar",
    "Radial",
    "Reflected",
    "Sylvester",
    "Transform",
    "UnitTriangular",
    "orders",
]
