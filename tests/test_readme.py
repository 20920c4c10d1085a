"""The examples of the README run, one after the other, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

README = Path(__file__).parents[1] / "README.md"


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert names["draws"].shape == (1000, 2)
    # A banana, a half moon: what was learned looks like what was asked for.
    assert abs(float(names["draws"][:, 1].mean()) - 1.0) < 0.25
    assert names["pictures"].shape == (10, 64)
    x = names["x"]
    torch.testing.assert_close(names["again"]().log_prob(x), names["flow"]().log_prob(x))
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    assert names["flow"]().log_prob(x).mean() > gaussian.log_prob(x).mean() + 0.3
