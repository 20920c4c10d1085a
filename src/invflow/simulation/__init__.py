"""Posteriors from simulators: learned from simulations, without a likelihood."""

from invflow.simulation.assess import Assessment
from invflow.simulation.distance import Distance
from invflow.simulation.fit import fit
from invflow.simulation.nle import NLE
from invflow.simulation.npe import NPE
from invflow.simulation.posterior import Posterior
from invflow.simulation.prior import Prior
from invflow.simulation.settings import Settings
from invflow.simulation.simulate import simulate
from invflow.simulation.simulations import Simulations

__all__ = [
    "NLE",
    "NPE",
    "Assessment",
    "Distance",
    "Posterior",
    "Prior",
    "Settings",
    "Simulations",
    "fit",
    "simulate",
]
