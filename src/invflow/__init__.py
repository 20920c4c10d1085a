"""Normalizing flows built around the inverse autoregressive flow.

>>> import torch, invflow
>>> flow = invflow.IAF(features=4, context=2)
>>> x, log_q = flow(torch.randn(5, 2)).rsample_and_log_prob((10,))
"""

from invflow._version import __version__
from invflow.flows import (
    IAF,
    MAF,
    NAF,
    NSF,
    UMNN,
    CouplingNSF,
    Flow,
    Gaussian,
    Planar,
    Radial,
    RealNVP,
    Sylvester,
)

__all__ = [
    "IAF",
    "MAF",
    "NAF",
    "NSF",
    "UMNN",
    "CouplingNSF",
    "Flow",
    "Gaussian",
    "Planar",
    "Radial",
    "RealNVP",
    "Sylvester",
    "__version__",
]
