"""Variational inference: posteriors of log densities."""

from invflow.vi.calibrate import Calibration, calibrate
from invflow.vi.posterior import Posterior
from invflow.vi.record import Record
from invflow.vi.refine import Refined
from invflow.vi.target import Flat, Named, Parameter, Target
from invflow.vi.verdict import Verdict

__all__ = [
    "Calibration",
    "Flat",
    "Named",
    "Parameter",
    "Posterior",
    "Record",
    "Refined",
    "Target",
    "Verdict",
    "calibrate",
]
