"""Images as levels of channels: data sets by name, files and folders."""

from invflow.vae.data.images import Images
from invflow.vae.data.load import clusters, load, name_of, scorable, scorable_labelled
from invflow.vae.data.named import NAMES

__all__ = ["NAMES", "Images", "clusters", "load", "name_of", "scorable", "scorable_labelled"]
