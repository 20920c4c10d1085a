"""Causal networks that compute the parameters of each group of features from those before it."""

from invflow._registry import Registry
from invflow.conditioners.activation import ACTIVATIONS, Activation
from invflow.conditioners.attention import Attention
from invflow.conditioners.base import (
    CachedConditioner,
    Conditioner,
    GroupDecoder,
    GroupPullback,
    Plan,
    RecordingDecoder,
    ReversiblePlan,
)
from invflow.conditioners.convolution import MaskedConvolution
from invflow.conditioners.guided import Guided
from invflow.conditioners.layout import Layout
from invflow.conditioners.lstm import LSTM
from invflow.conditioners.made import MADE
from invflow.conditioners.perceptron import Perceptron
from invflow.conditioners.rasters import patch_order, raster_order

__all__ = [
    "ACTIVATIONS",
    "CONDITIONERS",
    "LSTM",
    "MADE",
    "Activation",
    "Attention",
    "CachedConditioner",
    "Conditioner",
    "GroupDecoder",
    "GroupPullback",
    "Guided",
    "Layout",
    "MaskedConvolution",
    "Perceptron",
    "Plan",
    "RecordingDecoder",
    "ReversiblePlan",
    "patch_order",
    "raster_order",
]

#: Every conditioner that has a name; register your own here to be able to save it.
CONDITIONERS = Registry[type[Conditioner]](
    "conditioner", "invflow.conditioners.CONDITIONERS", Conditioner
)
CONDITIONERS.update(made=MADE, lstm=LSTM, attention=Attention, convolution=MaskedConvolution)
