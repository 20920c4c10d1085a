"""Sampling a TarFlow, and training through its samples: time by how it is inverted.

- usual: the loop of published code, with keys and values concatenated token by token;
- passes: one whole pass per patch;
- fixed_point: parallel passes until nothing changes (Jacobi iterations, to rounding);
- cached: this library's sweep, which "auto" chooses on a CPU.

All invert the same weights. Seconds are of the processor with one thread, the least of several
runs, so that other work on the machine hardly matters. The first line is one parallel pass.

    python benchmarks/patches.py [--size 28] [--patch 4] [--width 128] [--blocks 4] [--batch 32]
        [--ways fixed_point,cached]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from invflow.conditioners import Attention
from invflow.conditioners.groups import padded
from invflow.flows import TarFlow
from invflow.transforms import Autoregressive

METHODS = ("passes", "fixed_point", "auto", "cached")


class Row(NamedTuple):
    """Seconds of a way to sample, and of a training step through the samples."""

    name: str
    sample: float
    step: float


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
    attention = cast(Attention, part.conditioner)
    order = torch.arange(part.features) if part.order is None else part.order
    groups, heads = attention.groups, attention.heads
    x = padded(x[:, order], groups)
    positions, embedding, blocks, head = attention._weights()
    token = positions[0].expand(len(x), -1)
    caches: list[tuple[Tensor, Tensor] | None] = [None] * len(blocks)
    solved: list[Tensor] = []
    for k in range(len(groups)):
        for i, block in enumerate(blocks):
            query, key, value = (part.unsqueeze(2) for part in block.ask(token, heads))
            if (cache := caches[i]) is not None:
                key, value = torch.cat([cache[0], key], 2), torch.cat([cache[1], value], 2)
            caches[i] = key, value
            found = (query @ key.transpose(2, 3)).softmax(-1) @ value
            token = block.after(token, found.flatten(1))
        params = head(token).unflatten(-1, (-1, attention.outputs))
        solved.append(part.univariate.inverse(x[:, k], params)[0])
        if k + 1 < len(groups):
            token = positions[k + 1] + solved[-1] @ embedding
    return torch.cat(solved, -1)[:, order.argsort()]


def rows(flow: TarFlow, batch: int, runs: int, methods: Sequence[str]) -> Iterator[Row]:
    """Measure each way, once it gives what all others give."""
    noise = torch.randn(batch, flow.features, generator=torch.Generator().manual_seed(1))
    transforms = parts(flow)

    def parallel() -> Tensor:
        return flow.transform.inverse(noise)[0]

    def through() -> Tensor:
        return flow.transform(noise)[0]

    def loop() -> Tensor:
        x = noise
        for part in transforms:
            x = usual(part, x)
        return flow.transform.transforms[1](x)[0]  # pyright: ignore

    def step(run: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: run().square().mean().backward()

    def measured(name: str, run: Callable[[], Tensor]) -> Row:
        with torch.no_grad():
            sample = seconds(run, runs)
        return Row(name, sample, seconds(step(run), runs))

    yield measured("parallel pass", parallel)
    with torch.no_grad():
        wanted = through()
        torch.testing.assert_close(loop(), wanted, rtol=1e-3, atol=1e-3)
    yield measured("usual", loop)
    for name in methods:
        for part in transforms:
            part.inverse_method = name
        with torch.no_grad():
            torch.testing.assert_close(through(), wanted, rtol=1e-3, atol=1e-3)
        yield measured(name, through)


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
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
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
    print("| way | sampling, s | a training step through samples, s |")
    print("| --- | --- | --- |")
    for row in rows(flow, options.batch, options.runs, options.ways):
        print(f"| {row.name} | {row.sample:.3g} | {row.step:.3g} |", flush=True)


if __name__ == "__main__":
    main()
