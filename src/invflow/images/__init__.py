"""Densities of images whose pixels are integer levels."""

from invflow.images.dequantise import Dequantisation, Uniform, Variational
from invflow.images.model import ImageDensity

__all__ = ["Dequantisation", "ImageDensity", "Uniform", "Variational"]
