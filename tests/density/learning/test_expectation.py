"""The means by which missing numbers are filled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from invflow.density.learning.expectation import _guess
from invflow.density.table import Frame, survey
from invflow.density.table.codes import codes, ends, values

SOURCE = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {
        "size": SOURCE.normal(size=60),
        "price": 0.25 * SOURCE.integers(-9, 90, 60),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(SOURCE.integers(0, 90, 60), unit="D"),
    }
)


@pytest.mark.parametrize("name", TABLE.columns)
def test_candidates_beyond_the_table_count_as_its_ends(name: str) -> None:
    column = survey(Frame(TABLE), {"day": "date"}).features[list(TABLE.columns).index(name)]
    own = torch.tensor(codes(TABLE[name], column))
    low, high = float(own.min()), float(own.max())
    assert ends(column) == (low, high)
    candidates = torch.tensor([[low - 1e9, high], [own[3], high + 1e9], [own[4], own[5]]])
    weights = torch.tensor([[0.5, 0.25], [0.25, 0.5], [0.25, 0.25]], dtype=torch.float64)
    found = _guess([column], candidates.double()[..., None], weights)[:, 0]
    inside = candidates.double().clamp(low, high)
    torch.testing.assert_close(found, (inside * weights).sum(0))
    filled = pd.Series(values(found.numpy(), column))
    assert TABLE[name].min() <= filled.min()
    assert filled.max() <= TABLE[name].max()
