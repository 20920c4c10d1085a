"""Variational inference: posteriors of log densities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invflow.vi.fitting.fit import fit
from invflow.vi.fitting.training import Settings
from invflow.vi.posterior import Posterior
from invflow.vi.record import Record
from invflow.vi.targets.pymc import from_pymc
from invflow.vi.targets.pyro import from_pyro
from invflow.vi.targets.stan.target import from_stan
from invflow.vi.targets.subsample import Subsampled
from invflow.vi.targets.supports import angle
from invflow.vi.targets.target import Flat, Named, Parameter, Target
from invflow.vi.trust.calibrate import Calibration, calibrate
from invflow.vi.trust.refine import Refined
from invflow.vi.trust.verdict import Verdict

if TYPE_CHECKING:
    from invflow.vi.fitting.guide import AutoIAF

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
    """Import `AutoIAF`, which needs Pyro, when it is first used."""
    if name != "AutoIAF":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from invflow.vi.fitting.guide import AutoIAF
    except ImportError as error:
        raise ImportError('AutoIAF needs Pyro: pip install "invflow[pyro]"') from error
    return AutoIAF
