"""Causal networks: the parameters of each feature from the features before it."""

from invflow.conditioners.activation import ACTIVATIONS, Activation
from invflow.conditioners.base import CachedConditioner, Conditioner, Decoder, Plan, Pullback
from invflow.conditioners.layout import Layout
from invflow.conditioners.made import MADE
from invflow.conditioners.perceptron import Perceptron

__all__ = [
    "ACTIVATIONS",
    "CONDITIONERS",
    "MADE",
    "Activation",
    "CachedConditioner",
    "Conditioner",
    "Decoder",
    "Layout",
    "Perceptron",
    "Plan",
    "Pullback",
]

#: Every conditioner that can be named.
CONDITIONERS: dict[str, type[Conditioner]] = {"made": MADE}
