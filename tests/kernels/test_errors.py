"""Messages of the kernels that no other test reaches, word for word."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses import FakeTensorMode

from invflow.kernels import dense


def test_a_tensor_whose_storage_was_cut() -> None:
    tensor = torch.zeros(4)
    tensor.untyped_storage().resize_(8)
    message = (
        r"x of shape \(4,\) needs 16 bytes of memory, but its storage has 8: has it been freed"
    )
    with pytest.raises(ValueError, match=message):
        dense.whole("x", tensor)


def test_a_tensor_without_numbers() -> None:
    with (
        FakeTensorMode(),
        pytest.raises(RuntimeError, match="x must be a plain tensor of numbers, got FakeTensor"),
    ):
        dense.whole("x", torch.zeros(4))
