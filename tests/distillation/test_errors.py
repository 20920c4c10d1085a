"""Messages about students and teachers that no other test reaches, word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import invflow
from invflow.distillation import FlowTeacher, distill

CASES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "size": (
        lambda: distill(invflow.MAF(2), invflow.IAF(3), steps=1),
        ValueError,
        "student must have 2 features and a context of 0, like the teacher, got 3 and 0",
    ),
    "dtype": (
        lambda: distill(invflow.MAF(2), invflow.IAF(2).double(), steps=1),
        ValueError,
        "student must have the teacher's dtype torch.float32 and be on its device cpu, got "
        "torch.float64 on cpu",
    ),
    "base": (
        lambda: distill(
            invflow.MAF(2),
            invflow.IAF(2, base={"name": "mixture", "components": ["normal", "logistic"]}),
            steps=1,
        ),
        ValueError,
        "student must have a base with reparameterised samples, got Mixture",
    ),
    "objective": (
        lambda: distill(invflow.MAF(2), objective={"forward": 1.0}, steps=1),  # pyright: ignore
        TypeError,
        "objective must be an Objective, got dict",
    ),
    "contexts-of-a-teacher-without": (
        lambda: FlowTeacher(invflow.MAF(2), torch.zeros(5, 1)),
        ValueError,
        "contexts must be None, because the teacher has no context",
    ),
    "contexts-that-are-not-finite": (
        lambda: FlowTeacher(invflow.MAF(2, context=1), torch.tensor([[0.0], [torch.nan]])),
        ValueError,
        "contexts must be finite, got 1 rows with NaN or infinity",
    ),
    "contexts-of-one-dimension": (
        lambda: FlowTeacher(invflow.MAF(2, context=1), torch.zeros(1)),
        ValueError,
        r"contexts must have shape \(rows, 1\) with at least 1 rows, got \(1,\)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case: str) -> None:
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call()
