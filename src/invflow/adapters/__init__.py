"""Flows inside the tools of others: `sbi.posterior_nn`, `sbi.likelihood_nn` and `zuko.to_zuko`."""

from invflow.adapters import sbi, zuko

__all__ = ["sbi", "zuko"]
