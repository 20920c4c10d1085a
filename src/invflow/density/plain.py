"""Numbers of other libraries as Python's own."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, cast

import numpy as np


def plain(value: Any) -> Any:
    """Return a number as an int or a float, also those in sequences and mappings.

    What is no number stays as it is, and so do booleans.

    Example:
        >>> plain({"transforms": np.int64(2), "hidden_features": (np.int32(8), 8), "base": None})
        {'transforms': 2, 'hidden_features': [8, 8], 'base': None}
    """
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(each) for each in cast(Any, value)]
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value
