"""The training loop: steps, checkpoints, metrics and progress. It knows nothing of flows."""

from invflow.training.checkpoint import Checkpoints
from invflow.training.fabric import launch
from invflow.training.loop import Settings, fit
from invflow.training.metrics import Metrics

__all__ = ["Checkpoints", "Metrics", "Settings", "fit", "launch"]
