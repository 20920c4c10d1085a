"""Causal networks: the parameters of each feature from the features before it."""

from invflow.conditioners.activation import ACTIVATIONS, Activation
from invflow.conditioners.attention import Attention
from invflow.conditioners.base import (
    CachedConditioner,
    Conditioner,
    Decoder,
    Plan,
    Pullback,
    RecordingDecoder,
    ReversiblePlan,
)
from invflow.conditioners.convolution import MaskedConvolution, raster_order
from invflow.conditioners.layout import Layout
from invflow.conditioners.lstm import LSTM
from invflow.conditioners.made import MADE
from invflow.conditioners.perceptron import Perceptron

__all__ = [
    "ACTIVATIONS",
    "CONDITIONERS",
    "LSTM",
    "MADE",
    "Activation",
    "Attention",
    "CachedConditioner",
    "Conditioner",
    "Decoder",
    "Layout",
    "MaskedConvolution",
    "Perceptron",
    "Plan",
    "Pullback",
    "RecordingDecoder",
    "ReversiblePlan",
    "raster_order",
]

#: Every conditioner that can be named.
CONDITIONERS: dict[str, type[Conditioner]] = {
    "made": MADE,
    "lstm": LSTM,
    "attention": Attention,
    "convolution": MaskedConvolution,
}
