"""The IAF paper's ResNet VAE: layers of latent maps, inferred bottom-up or top-down."""

from invflow.vae.resnet.layer import BottomUpLayer, TopDownLayer
from invflow.vae.resnet.maps import Gaussian, MapPosterior
from invflow.vae.resnet.model import INFERENCES, ResNetVAE

__all__ = [
    "INFERENCES",
    "BottomUpLayer",
    "Gaussian",
    "MapPosterior",
    "ResNetVAE",
    "TopDownLayer",
]
