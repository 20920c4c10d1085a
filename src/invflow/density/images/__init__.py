"""Densities of images whose pixels are whole levels."""

from invflow.density.images.dequantise import Dequantisation, Uniform, Variational
from invflow.density.images.model import ImageDensity

__all__ = ["Dequantisation", "ImageDensity", "Uniform", "Variational"]
