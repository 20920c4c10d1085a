"""The classifier two-sample test of the SBI benchmark."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from torch import Tensor


def c2st(draws: Tensor, reference: Tensor, seed: int = 0) -> float:
    """Return the accuracy over five folds of a network that tells draws from reference draws.

    0.5: it cannot; 1: it always can. The network is Lueckmann et al.'s: two layers of ten units for
    each feature.

    Args:
        draws: (number, D).
        reference: (number, D).
        seed: of the network and the folds.
    """
    mean, deviation = reference.mean(0), reference.std(0)
    rows = np.concatenate([((each - mean) / deviation).numpy() for each in (draws, reference)])
    classes = np.repeat([0, 1], [len(draws), len(reference)])
    width = 10 * rows.shape[1]
    network = MLPClassifier((width, width), max_iter=1000, random_state=seed)
    folds = KFold(5, shuffle=True, random_state=seed)
    return float(cross_val_score(network, rows, classes, cv=folds).mean())
