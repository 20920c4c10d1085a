"""Variational inference: posteriors of log densities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invflow.vi.calibrate import Calibration, calibrate
from invflow.vi.fit import fit
from invflow.vi.posterior import Posterior
from invflow.vi.pymc import from_pymc
from invflow.vi.pyro import from_pyro
from invflow.vi.record import Record
from invflow.vi.refine import Refined
from invflow.vi.stan import from_stan
from invflow.vi.subsample import Subsampled
from invflow.vi.supports import angle
from invflow.vi.target import Flat, Named, Parameter, Target
from invflow.vi.training import Settings
from invflow.vi.verdict import Verdict

if TYPE_CHECKING:
    from invflow.vi.guide import AutoIAF

__all__ = [
    "AutoIAF",
    "Calibration",
    "Flat",
    "Named",
    "Parameter",
    "Posterior",
    "Record",
    "Refined",
    "Settings",
    "Subsampled",
    "Target",
    "Verdict",
    "angle",
    "calibrate",
    "fit",
    "from_pymc",
    "from_pyro",
    "from_stan",
]


def __getattr__(name: str) -> Any:
    """Import what needs Pyro where it is asked for."""
    if name != "AutoIAF":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from invflow.vi.guide import AutoIAF
    except ImportError as error:
        raise ImportError('AutoIAF needs Pyro: pip install "invflow[pyro]"') from error
    return AutoIAF
