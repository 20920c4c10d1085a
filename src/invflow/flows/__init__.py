"""Flows: torch distributions made of a base and a transform."""

from invflow.flows.autoregressive import IAF, MAF
from invflow.flows.base import Base, StandardNormal
from invflow.flows.distribution import FlowDistribution
from invflow.flows.flow import Flow
from invflow.flows.pyro import to_pyro

__all__ = ["IAF", "MAF", "Base", "Flow", "FlowDistribution", "StandardNormal", "to_pyro"]
