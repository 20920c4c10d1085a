"""What a training step of a small flow consists of, compared with flowjax's single program.

The step is that of `peers.py`: four affine MADE layers, values and log-determinants of a batch in
the direction of one pass, the gradients of all weights, no optimizer. Besides the whole step:

- PyTorch's part: an autograd function without arithmetic that takes and returns the same number of
  tensors of the same sizes, with the same loss and `zero_grad`;
- the kernels' part: their forward and backward pass, called alone, with their memory.

The rest is Python between the two. All alternate, as in `peers.py`.

    python benchmarks/overhead.py [--quick] [--size D/width/batch] [--threads N]
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any, cast

import peers
import torch
from directions import FULL, QUICK, Size, environment, table, version
from torch import Tensor, nn
from torch.autograd import Function

import invflow
from invflow.conditioners import MADE
from invflow.kernels import link
from invflow.kernels.cpu.chain import Chain
from invflow.transforms import Autoregressive, Compose


class _Nothing(Function):
    """Values as they are, log-determinants of zero, and gradients that nobody has computed."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(value, *weights)
        return value.clone(), value.new_zeros(len(value))

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Any, ...]:
        sizes = [weight.numel() for weight in ctx.saved_tensors[1:]]
        return None, *cotangents[0].new_empty(sum(sizes)).split(sizes)


def pytorch(flow: invflow.flows.Flow, z: Tensor) -> peers.Call:
    """Return the step of a flow without its arithmetic."""
    sizes = [weight.numel() for weight in flow.parameters()]
    weights = nn.ParameterList([torch.zeros(size) for size in sizes])

    def along(value: Tensor) -> tuple[Tensor, Tensor]:
        return cast(Any, _Nothing).apply(value, *weights)

    return peers.Chain(weights, along, along).step(along, z)


def kernels(flow: invflow.flows.Flow, z: Tensor) -> peers.Call:
    """Return the kernels' forward and backward pass, without autograd."""
    parts = cast(Compose, flow.transform).transforms
    layers = [part for part in parts if isinstance(part, Autoregressive)]
    made = cast(MADE, layers[0].conditioner)
    bar, bar_ladj = torch.randn_like(z), torch.randn(len(z))
    with torch.no_grad():
        links = [link(layer, z.shape[:-1], None) for layer in layers]
        univariate = cast(Any, layers[0].kernel).recipes[1]
        chain = Chain(made.layout, univariate, math.inf, False, links)

    def call() -> None:
        with torch.no_grad():
            kept = chain.keep(z)[2]
            chain.gradients(kept, bar, bar_ladj)

    return call


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="rough numbers, sooner")
    parser.add_argument("--size", type=Size.parse, default=peers.SIZES[0], help="D/width/batch")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    size = options.size
    torch.manual_seed(0)
    flow, z = peers.iaf(size), torch.randn(size.batch, size.features)
    calls = {
        "invflow": peers.LIBRARIES["invflow"][1](size)["training"],
        "PyTorch's share": pytorch(flow, z),
        "the kernels'": kernels(flow, z),
    }
    if version("flowjax"):
        calls["flowjax"] = peers.LIBRARIES["flowjax"][1](size)["training"]
    timers = {name: peers.timer(call) for name, call in calls.items()}
    found = peers.take_turns(timers, QUICK if options.quick else FULL)
    about = {**environment(options.threads), "flowjax": version("flowjax") or "not installed"}
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(table(["ms a step", *found], [[str(size), *(f"{ms:.3g}" for ms in found.values())]]))


if __name__ == "__main__":
    main(sys.argv[1:])
