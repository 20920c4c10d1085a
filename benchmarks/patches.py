"""Sampling a TarFlow, and training through its samples: time by how it is inverted.

- usual: the loop of published code, with keys and values concatenated token by token;
- segments: the same caches, but Jacobi iterations to rounding on a row of patches at a time
  (Gauss-Seidel; Liu and Qin 2025, arXiv 2505.12849); without gradients;
- passes: one whole pass per patch;
- fixed_point: parallel passes until nothing changes (Jacobi iterations, to rounding);
- cached: this library's sweep, which "auto" chooses on a CPU.

All invert the same weights: random ones, or those of a TarFlow that `invflow density` has trained,
without its labels. Seconds are of the processor with one thread, the least of several runs, so that
other work on the machine hardly matters. The first line is one parallel pass.

    python benchmarks/patches.py [--size 28] [--patch 4] [--width 128] [--blocks 4] [--batch 32]
        [--ways fixed_point,cached] [--run DIRECTORY]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from invflow.conditioners import Attention
from invflow.conditioners.groups import padded
from invflow.flows import TarFlow
from invflow.images.run import load
from invflow.transforms import Autoregressive

METHODS = ("passes", "fixed_point", "auto", "cached")


class Row(NamedTuple):
    """Seconds of a way to sample, and of a training step through the samples, if it has one."""

    name: str
    sample: float
    step: float | None


def seconds(run: Callable[[], object], runs: int) -> float:
    """Return the least time of the processor of several runs."""
    times: list[float] = []
    for _ in range(runs):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def parts(flow: TarFlow) -> list[Autoregressive]:
    """Return the transforms, in the order in which sampling inverts them."""
    found = [part for part in flow.modules() if isinstance(part, Autoregressive)]
    return found[::-1]


def usual(part: Autoregressive, x: Tensor) -> Tensor:
    """Invert a transform token by token, with keys and values concatenated."""
    attention, order, x = _ordered(part, x)
    positions, embedding, blocks, head = attention._weights()
    token = positions[0].expand(len(x), -1)
    caches: list[tuple[Tensor, Tensor] | None] = [None] * len(blocks)
    solved: list[Tensor] = []
    for k in range(len(attention.groups)):
        for i, block in enumerate(blocks):
            asked = block.ask(token, attention.heads)
            query, key, value = (part.unsqueeze(2) for part in asked)
            if (cache := caches[i]) is not None:
                key, value = torch.cat([cache[0], key], 2), torch.cat([cache[1], value], 2)
            caches[i] = key, value
            found = (query @ key.transpose(2, 3)).softmax(-1) @ value
            token = block.after(token, found.flatten(1))
        params = head(token).unflatten(-1, (-1, attention.outputs))
        solved.append(part.univariate.inverse(x[:, k], params)[0])
        if k + 1 < len(attention.groups):
            token = positions[k + 1] + solved[-1] @ embedding
    return torch.cat(solved, -1)[:, order.argsort()]


def segments(part: Autoregressive, x: Tensor, length: int) -> Tensor:
    """Invert a transform segment by segment, each by Jacobi iterations to rounding."""
    attention, order, x = _ordered(part, x)
    positions, embedding, blocks, head = attention._weights()
    z = torch.zeros_like(x)
    shape = len(x), attention.heads, x.shape[1], positions.shape[-1] // attention.heads
    caches = [(x.new_empty(shape), x.new_empty(shape)) for _ in blocks]
    for first in range(0, x.shape[1], length):
        own = slice(first, min(first + length, x.shape[1]))
        later = attention.later[own, : own.stop]
        for _ in range(length + 1):
            before = F.pad(z, (0, 0, 1, 0))[:, own]
            tokens = positions[own] + before @ embedding
            for block, (keys, values) in zip(blocks, caches, strict=True):
                asked = block.ask(tokens, attention.heads)
                query, keys[:, :, own], values[:, :, own] = (each.transpose(1, 2) for each in asked)
                scores = query @ keys[:, :, : own.stop].transpose(2, 3)
                shares = scores.masked_fill(later, -math.inf).softmax(-1)
                found = shares @ values[:, :, : own.stop]
                tokens = block.after(tokens, found.transpose(1, 2).flatten(-2))
            params = head(tokens).unflatten(-1, (-1, attention.outputs))
            last, z[:, own] = z[:, own].clone(), part.univariate.inverse(x[:, own], params)[0]
            limit = 8 * torch.finfo(z.dtype).eps * z[:, own].abs().clamp(min=1)
            if ((z[:, own] - last).abs() <= limit).all():
                break
    return z.flatten(1)[:, order.argsort()]


def _ordered(part: Autoregressive, x: Tensor) -> tuple[Attention, Tensor, Tensor]:
    """Return the transformer, the order of the features, and x as (batch, tokens, group)."""
    attention = cast(Attention, part.conditioner)
    order = torch.arange(part.features) if part.order is None else part.order
    return attention, order, padded(x[:, order], attention.groups)


def rows(
    flow: TarFlow, batch: int, runs: int, methods: Sequence[str], length: int
) -> Iterator[Row]:
    """Measure each way, once it gives what all others give."""
    noise = torch.randn(batch, flow.features, generator=torch.Generator().manual_seed(1))
    transforms = parts(flow)

    def through() -> Tensor:
        return flow.transform(noise)[0]

    def by(invert: Callable[[Autoregressive, Tensor], Tensor]) -> Callable[[], Tensor]:
        def run() -> Tensor:
            x = noise
            for part in transforms:
                x = invert(part, x)
            return flow.transform.transforms[1](x)[0]  # pyright: ignore

        return run

    def measured(name: str, run: Callable[[], Tensor], *, trains: bool = True) -> Row:
        with torch.no_grad():
            torch.testing.assert_close(run(), wanted, rtol=1e-3, atol=1e-3)
            sample = seconds(run, runs)
        step = seconds(lambda: run().square().mean().backward(), runs) if trains else None
        return Row(name, sample, step)

    with torch.no_grad():
        wanted = flow.transform.inverse(noise)[0]
    yield measured("parallel pass", lambda: flow.transform.inverse(noise)[0])
    with torch.no_grad():
        wanted = through()
    yield measured("usual", by(usual))
    yield measured("segments", by(partial(segments, length=length)), trains=False)
    for name in methods:
        for part in transforms:
            part.inverse_method = name
        yield measured(name, through)


def random_flow(options: argparse.Namespace) -> TarFlow:
    """Return a flow of the sizes that are asked for, with random weights."""
    flow = TarFlow(
        (1, options.size, options.size),
        options.patch,
        transforms=options.transforms,
        hidden_features=(options.width,) * options.blocks,
        generator=torch.Generator().manual_seed(0),
    )
    with torch.no_grad():
        source = torch.Generator().manual_seed(2)
        for parameter in flow.parameters():
            noise = torch.randn(parameter.shape, generator=source)
            parameter += 0.1 * noise / max(parameter.shape[-1], 4) ** 0.5
    return flow


def learned_flow(directory: str) -> TarFlow:
    """Return the flow of a run.

    Raises:
        FileNotFoundError: if there is no such run.
        ValueError: if it is unfinished or of another kind, or has another flow or labels.
    """
    flow = load(directory).model.flow
    if not isinstance(flow, TarFlow) or flow.context:
        labels = " with labels" if flow.context else ""
        raise ValueError(
            f"{directory} must hold a TarFlow without labels, got a {type(flow).__name__}{labels}; "
            "make one by: invflow density IMAGES --flow tarflow"
        )
    return flow


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=28, help="height and width of the images")
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=4, help="blocks per transform")
    parser.add_argument("--transforms", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ways", type=lambda text: text.split(","), default=METHODS)
    parser.add_argument("--run", metavar="DIRECTORY", help="of invflow density, without labels")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        flow = learned_flow(options.run) if options.run else random_flow(options)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    length = flow.shape[2] // cast(int, flow.config["patch"])
    print("| way | sampling, s | a training step through samples, s |")
    print("| --- | --- | --- |")
    for row in rows(flow, options.batch, options.runs, options.ways, length):
        step = "" if row.step is None else f"{row.step:.3g}"
        print(f"| {row.name} | {row.sample:.3g} | {step} |", flush=True)


if __name__ == "__main__":
    main()
