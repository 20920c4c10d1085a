from __future__ import annotations

import gc
import os
from dataclasses import replace

import pytest
import torch
from hypothesis import settings

# The same few examples every time, and nothing written to disk.
settings.register_profile(
    "invflow", derandomize=True, database=None, deadline=None, max_examples=20
)
settings.load_profile("invflow")

# Tests are small, and pytest-xdist runs one worker per core; so are the processes that they start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass by the thousands of tests, which stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _afresh() -> None:
    torch.manual_seed(0)
    # The first use of torch's compiler switches these checks off for good.
    torch.distributions.Distribution.set_default_validate_args(True)


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave 400 of the 1,797 handwritten digits."""
    from invflow.images.data import named

    digits = named.NAMES["digits"]()
    assert digits.labels is not None
    labels = {"train": digits.labels()["train"][:400]}
    few = replace(digits, train=digits.train[:400], labels=lambda: labels)
    monkeypatch.setitem(named.NAMES, "digits", lambda: few)
