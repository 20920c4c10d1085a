"""Tests of a density on held-out rows."""

from invflow.density.checks.calibration import (
    Calibration,
    anomaly,
    calibrate,
    pit,
    radial_pit,
    ranks,
)
from invflow.density.checks.classifier_test import classifier_test
from invflow.density.checks.two_sample import two_sample

__all__ = [
    "Calibration",
    "anomaly",
    "calibrate",
    "classifier_test",
    "pit",
    "radial_pit",
    "ranks",
    "two_sample",
]
