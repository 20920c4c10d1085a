"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invflow.images.data import arrays, formats
from invflow.images.data.download import fetch
from invflow.images.data.images import Source
from invflow.images.data.photographs import photographs

_MNIST = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
_MNIST_SUM = "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_FASHION_TRAIN = "train-images-idx3-ubyte.gz"
_FASHION_TRAIN_SUM = "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
_FASHION_TEST = "t10k-images-idx3-ubyte.gz"
_FASHION_TEST_SUM = "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
_FASHION_TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
_FASHION_TRAIN_LABELS_SUM = "md5:25c81989df183df01b3e8a0aad5dffbe"
_FASHION_TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
_FASHION_TEST_LABELS_SUM = "md5:bb300cfdad3c16e7a12a480ee83cd310"
#: In the order of their numbers (Xiao et al. 2017, arXiv 1708.07747, table 2).
_FASHION_CLASSES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_CIFAR_SUM = "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
#: In the order of their numbers, as in the archive's batches.meta.txt.
_CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_FREY = "https://cs.nyu.edu/~roweis/data/frey_rawface.mat"
_FREY_SUM = "md5:5aeb024d42b8a6091f30e5eb18c8a48d"


def _digits() -> Source:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError('digits needs scikit-learn: pip install "invflow[images]"') from error
    bunch: Any = load_digits()
    images = bunch.images.astype(np.uint8)[:, None]
    return Source(images, 17, labels=lambda: {"train": bunch.target})


def _mnist() -> Source:
    source = arrays.read(fetch("mnist", _MNIST, _MNIST_SUM))
    return replace(source, binary=True, shuffled=True)


def _fashion_mnist() -> Source:
    train = fetch("fashion-mnist", f"{_FASHION}/{_FASHION_TRAIN}", _FASHION_TRAIN_SUM)
    test = fetch("fashion-mnist", f"{_FASHION}/{_FASHION_TEST}", _FASHION_TEST_SUM)

    def labels() -> dict[str, NDArray[Any]]:
        files = {
            "train": (_FASHION_TRAIN_LABELS, _FASHION_TRAIN_LABELS_SUM),
            "test": (_FASHION_TEST_LABELS, _FASHION_TEST_LABELS_SUM),
        }
        return {
            part: _named(
                formats.idx_labels(fetch("fashion-mnist", f"{_FASHION}/{name}", checksum)),
                _FASHION_CLASSES,
            )
            for part, (name, checksum) in files.items()
        }

    images = formats.idx(train), formats.idx(test)
    return Source(images[0], 256, test=images[1], shuffled=True, labels=labels)


def _cifar10() -> Source:
    path = fetch("cifar10", _CIFAR, _CIFAR_SUM)
    train, train_labels = formats.cifar(path, [f"data_batch_{i}.bin" for i in range(1, 6)])
    test, test_labels = formats.cifar(path, ["test_batch.bin"])

    def labels() -> dict[str, NDArray[Any]]:
        return {
            "train": _named(train_labels, _CIFAR_CLASSES),
            "test": _named(test_labels, _CIFAR_CLASSES),
        }

    return Source(train, 256, test=test, shuffled=True, labels=labels)


def _freyfaces() -> Source:
    return Source(formats.frey(fetch("freyfaces", _FREY, _FREY_SUM)), 256)


def _named(labels: NDArray[np.uint8], names: Sequence[str]) -> NDArray[Any]:
    """Return the names of labels; those of no class are numbers beyond the last."""
    more = [str(number) for number in range(len(names), 256)]
    return np.array([*names, *more])[labels]


#: All data sets by name.
NAMES: dict[str, Callable[[], Source]] = {
    "digits": _digits,
    "photographs": photographs,
    "mnist": _mnist,
    "fashion-mnist": _fashion_mnist,
    "cifar10": _cifar10,
    "freyfaces": _freyfaces,
}
