"""Shapes are broadcast as PyTorch does, and cheaply."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch

from invflow import IAF
from invflow._broadcast import broadcast

SHAPES = [(), (1,), (3,), (0,), (2, 1), (2, 3), (1, 3), (4, 1, 1), (4, 2, 3), (5, 3)]


@pytest.mark.parametrize("shapes", [*itertools.product(SHAPES, repeat=2)], ids=str)
def test_as_pytorch(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    try:
        expected = torch.broadcast_shapes(*shapes)
    except RuntimeError:
        with pytest.raises(ValueError, match=r"^shapes must broadcast against each other, got"):
            broadcast(*shapes)
    else:
        assert broadcast(*shapes) == expected
        assert broadcast(*shapes, (1,)) == torch.broadcast_shapes(*shapes, (1,))


def test_no_shapes_are_none() -> None:
    assert broadcast() == torch.Size()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:torch")
def test_sizes_that_a_compiler_does_not_know() -> None:
    """As that of a batch from which rows have been picked."""
    flow = IAF(3, context=2)
    c = torch.zeros(2)

    def log_prob(x: torch.Tensor) -> torch.Tensor:
        return flow(c, validate_args=False).log_prob(x[x[:, 0] > 0])

    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(log_prob, backend="eager", fullgraph=True)
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        torch.testing.assert_close(compiled(x), log_prob(x))


SCRIPT = """
import sys, torch, invflow
flow = invflow.IAF(4, context=2)
q = flow(torch.zeros(3, 2))
q.log_prob(torch.randn(5, 3, 4)), q.rsample((2,)).sum()
invflow.NAF(4)().sample((5,))
normal = torch.distributions.Normal(torch.zeros(4), 1.0)
view = flow.transform.as_torch(torch.zeros(3, 2))
torch.distributions.TransformedDistribution(normal, [view]).sample((2,))
print("sympy" in sys.modules)
"""


def test_first_calls_do_not_import_sympy() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n"
