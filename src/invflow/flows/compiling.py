"""Whether it pays to compile a flow with `torch.compile`."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from invflow import kernels
from invflow.transforms import Autoregressive


def worth_compiling(module: nn.Module, device: torch.device, precision: str) -> bool:
    """Return whether `torch.compile` may make a module with flows faster, with a warning if not.

    Compiled code does not use the kernels, which are faster than what PyTorch compiles.

    Args:
        module: with flows.
        device: where it is trained.
        precision: of the training, as in Lightning Fabric: with mixed precision no kernels run.

    Warns:
        UserWarning: if all autoregressive transforms in it run in kernels.
    """
    parts = [part for part in module.modules() if isinstance(part, Autoregressive)]
    served = bool(parts) and all(part.joins is not None for part in parts)
    if not served or device.type != "cpu" or "mixed" in precision or not kernels.usable("cpu"):
        return True
    warnings.warn(
        "compile=True has no effect: this flow runs in kernels, which are faster than what PyTorch "
        "compiles; leave compile out",
        UserWarning,
        stacklevel=3,
    )
    return False
