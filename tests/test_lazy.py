"""Parts that are imported when they are first used say what is missing."""

from __future__ import annotations

import pytest

import invflow
from invflow._lazy import attached


def test_a_name_that_is_not_a_part() -> None:
    with pytest.raises(AttributeError, match="module 'invflow' has no attribute 'nothing'"):
        _ = invflow.nothing  # pyright: ignore[reportAttributeAccessIssue]


def test_a_part_that_cannot_be_imported() -> None:
    ask, listed = attached("invflow", {"absent": "vi"})
    assert "absent" in listed()
    message = r"invflow.absent cannot be imported: No module .* \(pip install \"invflow\[vi\]\"\)"
    with pytest.raises(AttributeError, match=message):
        ask("absent")
