from __future__ import annotations

import os
from contextlib import suppress

import pytest
import torch
from hypothesis import settings

from invflow import kernels
from invflow.conditioners import MADE
from invflow.transforms import Autoregressive

# The same examples every time, and nothing written to disk.
settings.register_profile("invflow", derandomize=True, database=None, deadline=None)
settings.load_profile("invflow")

# Tests are small, and pytest-xdist runs one worker per core; so are the processes that they start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the first two workers compile the kernels of one precision each, for both."""
    dtypes = dict(zip(("gw0", "gw1"), kernels.DTYPES["cpu"], strict=True))
    dtype = dtypes.get(os.environ.get("PYTEST_XDIST_WORKER", ""))
    if dtype is None or not kernels.usable("cpu"):
        return
    transform = Autoregressive(MADE(2, (0.0, 0.0), (3,)).to(dtype))
    with suppress(Exception):  # tests will say what is wrong
        z, ladj = transform.inverse(torch.zeros(1, 2, dtype=dtype))
        (z.sum() + ladj.sum()).backward()


@pytest.fixture(autouse=True)
def _afresh() -> None:
    torch.manual_seed(0)
    # The first use of torch's compiler switches these checks off for good.
    torch.distributions.Distribution.set_default_validate_args(True)
