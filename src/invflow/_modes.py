"""Training and evaluation mode of modules."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*models: nn.Module) -> Generator[None]:
    """Put models into evaluation mode; afterwards restore the mode of each of their modules.

    Use it for everything that only evaluates a model: dropout is off, batch normalisation neither
    uses nor updates batch statistics, and nothing is initialised from its first batch.

    Args:
        models: the models to evaluate.

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
