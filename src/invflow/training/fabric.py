"""Where to train: Lightning Fabric's devices."""

from __future__ import annotations

from typing import Any


def launch(accelerator: str = "cpu") -> Any:
    """Return a Lightning Fabric on one device.

    Args:
        accelerator: "cpu", "cuda", "auto", ... as Fabric knows them.

    Raises:
        ImportError: Lightning Fabric is not installed.
        ValueError: there is no such accelerator, or none on this machine.

    Example:
        >>> launch("cpu").device
        device(type='cpu')
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise ImportError(
            'training needs Lightning Fabric: pip install "invflow[training]"'
        ) from error
    try:
        fabric = Fabric(accelerator=accelerator, devices=1)
        fabric.launch()
    except (RuntimeError, ValueError, ImportError) as error:
        raise ValueError(f"accelerator {accelerator!r} cannot be used: {error}") from error
    return fabric
