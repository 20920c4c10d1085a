"""Messages of the maps that no other test reaches, word for word."""

from __future__ import annotations

import pytest

from invflow.univariate.monotonic import MOST, Monotonic


def test_too_many_nodes() -> None:
    with pytest.raises(ValueError, match=f"nodes must be at most {MOST}, got {MOST + 1}"):
        Monotonic(nodes=MOST + 1)
