"""Flows: torch distributions made of a base and a transform."""

from invflow.flows.autoregressive import IAF, MAF
from invflow.flows.base import Base
from invflow.flows.bases import (
    BASES,
    DiagonalNormal,
    FullNormal,
    Logistic,
    Mixture,
    StandardNormal,
    StudentT,
    Uniform,
    as_base,
)
from invflow.flows.coupling import CouplingNSF, RealNVP
from invflow.flows.denoised import denoised
from invflow.flows.distribution import FlowDistribution
from invflow.flows.divergence import Estimate, estimate_kl
from invflow.flows.flexible import NAF, NSF, UMNN
from invflow.flows.flow import Flow
from invflow.flows.gaussian import Gaussian
from invflow.flows.mixture import FlowMixture, MixtureDistribution
from invflow.flows.multivariate_t import MultivariateStudentT
from invflow.flows.named import build
from invflow.flows.nested import FlowBase
from invflow.flows.preconditioned import Preconditioned
from invflow.flows.product import Product
from invflow.flows.pyro import to_pyro
from invflow.flows.residual import Planar, Radial, Sylvester
from invflow.flows.tarflow import TarFlow, TarIAF
from invflow.flows.tempered import Tempered
from invflow.flows.wrapped import Wrapped

__all__ = [
    "BASES",
    "IAF",
    "MAF",
    "NAF",
    "NSF",
    "UMNN",
    "Base",
    "CouplingNSF",
    "DiagonalNormal",
    "Estimate",
    "Flow",
    "FlowBase",
    "FlowDistribution",
    "FlowMixture",
    "FullNormal",
    "Gaussian",
    "Logistic",
    "Mixture",
    "MixtureDistribution",
    "MultivariateStudentT",
    "Planar",
    "Preconditioned",
    "Product",
    "Radial",
    "RealNVP",
    "StandardNormal",
    "StudentT",
    "Sylvester",
    "TarFlow",
    "TarIAF",
    "Tempered",
    "Uniform",
    "Wrapped",
    "as_base",
    "build",
    "denoised",
    "estimate_kl",
    "to_pyro",
]
