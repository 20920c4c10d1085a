"""Messages about densities of images that no other test reaches, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import invflow
from invflow.images import Variational

MIXTURE = {"name": "mixture", "components": ["normal", "logistic"]}
CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no-context": (
        lambda: Variational(invflow.IAF(4)),
        ValueError,
        "flow must have a context, which receives the image, got context=0",
    ),
    "base": (
        lambda: Variational(invflow.IAF(4, context=4, base=MIXTURE)),
        ValueError,
        "flow must have a base with reparameterised samples, got Mixture",
    ),
    "context-of-another-size": (
        lambda: Variational(invflow.IAF(4, context=2)),
        ValueError,
        "flow must have a context of 4 for the image, or an encoder must be given, got 2",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call()
