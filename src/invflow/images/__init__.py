"""Densities of images whose pixels are integer levels."""

from invflow.images.dequantise import Dequantisation, Uniform, Variational
from invflow.images.model import ImageDensity
from invflow.images.noise import noisy

__all__ = ["Dequantisation", "ImageDensity", "Uniform", "Variational", "noisy"]
