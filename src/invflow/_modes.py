"""The mode that modules are in: training or evaluation."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*models: nn.Module) -> Generator[None]:
    """Inside, models are in evaluation mode; afterwards each of their modules has its own mode.

    Whatever only looks at a model does so inside: dropout draws nothing, batch normalisation
    neither uses nor updates the statistics of the batch, and nothing starts from its first batch.

    Args:
        models: what is looked at.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with evaluating(model):
        ...     model(torch.ones(3))
        tensor([1., 1., 1.])
        >>> [layer.training for layer in model]
        [True, False]
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    try:
        for model in models:
            model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
