"""Flows inside the tools of others.

`sbi.posterior_nn` and `sbi.likelihood_nn`, `nessai.flow_class`, and `zuko.to_zuko`, for pocoMC and
other tools that take a Zuko flow.
"""

from invflow.adapters import nessai, sbi, zuko

__all__ = ["nessai", "sbi", "zuko"]
