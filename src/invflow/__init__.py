"""Normalizing flows built around the inverse autoregressive flow.

>>> import torch, invflow
>>> flow = invflow.IAF(features=4, context=2)
>>> x, log_q = flow(torch.randn(5, 2)).rsample_and_log_prob((10,))

Packages that need an extra are imported when they are first used: `invflow.vi`, `invflow.vae`,
`invflow.density`, `invflow.distillation`, `invflow.images`, `invflow.simulation`,
`invflow.adapters`, `invflow.runs`, `invflow.report`, `invflow.training` and `invflow.cli`.
"""

from typing import TYPE_CHECKING

from invflow import _lazy
from invflow import testing as testing
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

if TYPE_CHECKING:
    from invflow import adapters as adapters
    from invflow import cli as cli
    from invflow import density as density
    from invflow import distillation as distillation
    from invflow import images as images
    from invflow import report as report
    from invflow import runs as runs
    from invflow import simulation as simulation
    from invflow import training as training
    from invflow import vae as vae
    from invflow import vi as vi

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

if not TYPE_CHECKING:  # otherwise type checkers would accept misspelt names
    _EXTRAS = {
        name: name for name in ("cli", "density", "images", "report", "training", "vae", "vi")
    }
    _EXTRAS |= {"distillation": "density", "runs": "density"}
    _EXTRAS |= {"simulation": "simulation", "adapters": "sbi"}
    __getattr__, __dir__ = _lazy.attached(__name__, _EXTRAS)
