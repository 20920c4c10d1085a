"""Every variant that this processor can run gives the same, on any number of threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.kernels import variant
from tests.kernels.parts import VARIANTS, missing

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_agrees_with_pytorch_in_double_precision(name: str, tmp_path: Path) -> None:
    """To rounding, as all others do; in its own process, which sees to the numbers of threads."""
    if why := missing(name):
        pytest.skip(why)
    command = [sys.executable, "-m", variant.__name__, name, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / name, weights_only=True)
    for case in variant.CASES:
        flow, precision, inverse, batch = case
        reference = variant.transforms(flow, "cached")
        expected = variant.results(reference, torch.float64, inverse, batch)
        digits = 100 * torch.finfo(getattr(torch, precision)).eps
        for actual, wanted in zip(found[case], expected, strict=True):
            assert actual.dtype is getattr(torch, precision)
            assert (actual - wanted).norm() <= digits * wanted.norm(), case
