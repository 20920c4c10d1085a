"""Shapes are broadcast as PyTorch does, and cheaply."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch

from invflow._broadcast import broadcast

SHAPES = [(), (1,), (3,), (0,), (2, 1), (2, 3), (1, 3), (4, 1, 1), (4, 2, 3), (5, 3)]


@pytest.mark.parametrize("shapes", [*itertools.product(SHAPES, repeat=2)], ids=str)
def test_as_pytorch(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    try:
        expected = torch.broadcast_shapes(*shapes)
    except RuntimeError:
        with pytest.raises(ValueError, match="do not broadcast"):
            broadcast(*shapes)
    else:
        assert broadcast(*shapes) == expected
        assert broadcast(*shapes, (1,)) == torch.broadcast_shapes(*shapes, (1,))


def test_no_shapes_are_none() -> None:
    assert broadcast() == torch.Size()


SCRIPT = """
import sys, torch, invflow
flow = invflow.IAF(4, context=2)
q = flow(torch.zeros(3, 2))
before = set(sys.modules)
q.log_prob(torch.randn(5, 3, 4)), q.rsample((2,)).sum()
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def test_first_calls_import_little() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sympy" not in done.stdout
