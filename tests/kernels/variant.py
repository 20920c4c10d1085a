"""What one variant of the kernels gives: a program, whose results tests hold against others'.

Run as `python -m tests.kernels.variant VARIANT FOLDER`: it writes its results to a file there, and
fails if they depend on the number of threads.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from invflow import kernels
from invflow.conditioners import MADE
from invflow.kernels.cpu import library, threads
from invflow.kernels.cpu.chain import Chain
from invflow.transforms import Autoregressive, Compose
from tests.helpers import UNIVARIATES, generator, gradients, perturbed, randn

FLOWS: dict[str, tuple[int, tuple[int, ...], str]] = {
    "small": (1, (3,), "affine"),
    "deep": (9, (37, 37), "gated"),
    "wide": (40, (70,), "affine"),
}
BATCHES = (1, 63, 64, 65, 200)
CASES = list(itertools.product(FLOWS, ("float32", "float64"), (False, True), BATCHES))


def transforms(name: str, inverse: str) -> Compose:
    """Return transforms with a context, the same ones in every process."""
    features, hidden, univariate = FLOWS[name]
    map = UNIVARIATES[univariate]

    def step(seed: int) -> Autoregressive:
        made = MADE(features, map.start, hidden, 2, generator=generator(seed), residual=True)
        order = torch.randperm(features, generator=generator(seed))
        return Autoregressive(made, map, order=order, inverse=inverse, input_bound=4.0)

    return perturbed(Compose([step(seed) for seed in range(3)]), scale=0.2)


def results(flow: Compose, dtype: torch.dtype, inverse: bool, batch: int) -> list[Tensor]:
    """Return values, log-determinants, and gradients by all that goes in."""
    flow.to(dtype)
    value = randn(batch, flow.features).to(dtype).requires_grad_()
    context = randn(batch, 2, seed=1).to(dtype).requires_grad_()
    found, ladj = (flow.inverse if inverse else flow)(value, context)
    inputs = [value, context, *flow.parameters()]
    return [found.detach(), ladj.detach(), *gradients(found, ladj, inputs)]


def _in_kernels(
    flow: Compose, links: list[kernels.Link], inverse: bool, batch: int
) -> list[Tensor]:
    """Return all that the kernels give: nothing of it is PyTorch's."""
    kind = flow.transforms[0].kernel
    chain = Chain(kind.plan.layout, kind.recipes[1], kind.input_bound, inverse, links)
    numbers = [randn(batch, flow.features), randn(batch, flow.features, seed=2), randn(batch)]
    value, bar, bar_ladj = (each.to(links[0].bias.dtype) for each in numbers)
    *mapped, kept = chain.keep(value)
    bar_value, bars = chain.pull(kept, bar, bar_ladj)
    by_value, by_link = chain.gradients(kept, bar, bar_ladj)
    return [*chain.map(value), *mapped, kept.room, bar_value, bars, by_value, *by_link]


def _check_threads(case: tuple[str, str, bool, int]) -> None:
    """Check that no bit of the results depends on the number of threads."""
    name, precision, inverse, batch = case
    flow = transforms(name, "compiled").to(getattr(torch, precision))
    context = randn(batch, 2, seed=1).to(getattr(torch, precision))
    with torch.no_grad():  # here, as products of PyTorch's may depend on it
        links = [kernels.link(part, torch.Size([batch]), context) for part in flow.transforms]
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(_in_kernels(flow, links, inverse, batch))
        if not all(map(torch.equal, found[0], found[-1])):
            raise RuntimeError(f"{case}: results on {count} threads differ from those on one")


def main(variant: str, folder: str) -> None:
    """Check a variant, and write its results."""
    os.environ["INVFLOW_KERNELS"] = variant
    if library.variant() != variant:
        raise RuntimeError(f"wanted {variant}, got {library.variant()}")
    threads.AWAKE = threads.ASLEEP = 1e-9
    found = {}
    for case in CASES:
        name, precision, inverse, batch = case
        _check_threads(case)
        flow = transforms(name, "compiled")
        found[case] = results(flow, getattr(torch, precision), inverse, batch)
    torch.save(found, Path(folder, variant))


if __name__ == "__main__":
    main(*sys.argv[1:])
