"""Invertible maps of vectors."""

from invflow.transforms.actnorm import ActNorm
from invflow.transforms.as_torch import AsTorch
from invflow.transforms.autoregressive import Autoregressive
from invflow.transforms.base import Transform
from invflow.transforms.basis import ORTHONORMAL, Basis, Orthogonal, Permuted, Reflected
from invflow.transforms.batchnorm import BatchNorm
from invflow.transforms.bounded import Sigmoid, Softplus
from invflow.transforms.circles import Circles
from invflow.transforms.compose import Compose, Inverse
from invflow.transforms.coupling import Coupling, masks
from invflow.transforms.elementwise import Elementwise
from invflow.transforms.householder import Householder
from invflow.transforms.linear import LULinear
from invflow.transforms.permutation import Permutation, orders
from invflow.transforms.planar import Planar
from invflow.transforms.preconditioner import Preconditioner
from invflow.transforms.radial import Radial
from invflow.transforms.rotation import Rotation
from invflow.transforms.sylvester import Sylvester
from invflow.transforms.triangular import UnitTriangular

__all__ = [
    "ORTHONORMAL",
    "ActNorm",
    "AsTorch",
    "Autoregressive",
    "Basis",
    "BatchNorm",
    "Circles",
    "Compose",
    "Coupling",
    "Elementwise",
    "Householder",
    "Inverse",
    "LULinear",
    "Orthogonal",
    "Permutation",
    "Permuted",
    "Planar",
    "Preconditioner",
    "Radial",
    "Reflected",
    "Rotation",
    "Sigmoid",
    "Softplus",
    "Sylvester",
    "Transform",
    "UnitTriangular",
    "masks",
    "orders",
]
