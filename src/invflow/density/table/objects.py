"""What columns of Python objects hold."""

from __future__ import annotations

from typing import Any

import pandas as pd

#: What `held` says of objects that have a density.
KNOWN = (
    *("string", "boolean", "date", "time"),
    *("integer", "floating", "mixed-integer-float", "decimal", "empty"),
)


def held(series: Any) -> str:
    """Return what a column of objects holds, in the words of pandas; "" for other columns.

    Example:
        >>> import datetime
        >>> held(pd.Series([datetime.time(12), None])), held(pd.Series([1]))
        ('time', '')
    """
    # Beside other objects, NaT makes a mixture.
    return pd.api.types.infer_dtype(series.dropna()) if series.dtype == object else ""


def is_text(series: Any) -> bool:
    """Whether a column holds text, and only text.

    Example:
        >>> is_text(pd.Series(["a", None])), is_text(pd.Series(["a", [1]]))
        (True, False)
    """
    return (held(series) or pd.api.types.infer_dtype(series.dropna())) == "string"
