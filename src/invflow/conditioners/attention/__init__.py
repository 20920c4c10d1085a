"""A transformer over groups of features, with a sweep that keeps keys and values."""

from invflow.conditioners.attention.network import Attention

__all__ = ["Attention"]
