"""Variational inference: posteriors of log densities."""

from invflow.vi.calibrate import Calibration, calibrate
from invflow.vi.fit import fit
from invflow.vi.guide import AutoIAF
from invflow.vi.posterior import Posterior
from invflow.vi.pymc import from_pymc
from invflow.vi.pyro import from_pyro
from invflow.vi.record import Record
from invflow.vi.refine import Refined
from invflow.vi.stan import from_stan
from invflow.vi.subsample import Subsampled
from invflow.vi.target import Flat, Named, Parameter, Target
from invflow.vi.training import Settings
from invflow.vi.verdict import Verdict

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
    "calibrate",
    "fit",
    "from_pymc",
    "from_pyro",
    "from_stan",
]
