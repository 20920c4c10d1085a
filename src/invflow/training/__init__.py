"""The training loop: steps, checkpoints, metrics and progress. It knows nothing of flows."""

from invflow.training.batches import batch_size
from invflow.training.checkpoint import Checkpoints
from invflow.training.fabric import launch
from invflow.training.loop import fit
from invflow.training.metrics import Metrics
from invflow.training.settings import OPTIMIZERS, SCHEDULES, Settings

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Checkpoints",
    "Metrics",
    "Settings",
    "batch_size",
    "fit",
    "launch",
]
