"""Images as levels of channels: data sets by name, files and folders."""

from invflow.images.data.images import Images
from invflow.images.data.load import clusters, load, name_of, scorable, scorable_labelled
from invflow.images.data.named import NAMES

__all__ = ["NAMES", "Images", "clusters", "load", "name_of", "scorable", "scorable_labelled"]
