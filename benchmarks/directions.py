"""The cost of an autoregressive layer's sequential direction, compared with the parallel one.

Measured for one affine MADE layer with two hidden layers of ReLUs, in float32 and without context:

- forward: from noise z to data x and the log-determinant, in one network pass. Other libraries name
  the directions the other way round; here "forward" is the parallel direction of each library.
- inverse: back from x = forward(z), for which other libraries need D passes.
- step: clear the gradients, run one direction with gradients, and the backward pass of the loss
  mean(|value|^2 / 2 - ladj). There is no optimizer step and no gradient of the input.

The two directions alternate, so that a machine that slows down slows both. A time is a median over
the rounds, "ratio" is the ratio of the medians, and the brackets contain the quartiles of the ratio
per round. Memory is the peak that PyTorch allocates during one step, above the level before it,
from the profiler's record of every allocation in a separate process.

    python benchmarks/directions.py [--quick] [--sizes 8/64/256,...] [--libraries invflow,...]
                                   [--json FILE] [--threads N]
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile

from invflow.conditioners import MADE
from invflow.transforms import Autoregressive
from invflow.univariate import Affine

PEERS = ("zuko", "nflows")
Map = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclasses.dataclass(frozen=True)
class Size:
    """D features, two hidden layers of one width, a batch."""

    features: int
    width: int
    batch: int

    @staticmethod
    def parse(text: str) -> Size:
        """Read "D/width/batch"."""
        try:
            features, width, batch = (int(part) for part in text.split("/"))
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected D/width/batch, got {text!r}") from None
        if min(features - 1, width, batch) < 1:
            raise argparse.ArgumentTypeError(f"expected D > 1, width and batch > 0, got {text!r}")
        return Size(features, width, batch)

    def __str__(self) -> str:
        return f"{self.features}/{self.width}/{self.batch}"


#: The largest ratios aimed at: inverse / forward without gradients, and of training steps.
TARGETS = {
    Size(8, 64, 256): (5.0, 5.0),
    Size(64, 512, 1024): (2.0, 2.5),
    Size(256, 512, 1024): (5.0, 5.0),
    Size(784, 1024, 256): (5.0, 5.0),
}
#: Where the memory of a training step is measured, and the largest ratio aimed at.
MEMORY_SIZE, MEMORY_TARGET = Size(256, 512, 1024), 2.0


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        warm_up: seconds of turns that are not counted, one turn at least.
        seconds: of turns that are.
        fewest: turns, however slow.
        most: turns, however fast.
        slowest: seconds that one call of a peer may take.
    """

    warm_up: float
    seconds: float
    fewest: int
    most: int
    slowest: float


FULL = Effort(warm_up=1.0, seconds=8.0, fewest=3, most=400, slowest=20.0)
QUICK = Effort(warm_up=0.2, seconds=1.0, fewest=3, most=50, slowest=1.0)


@dataclasses.dataclass(frozen=True)
class Layer:
    """One library's autoregressive layer, its parallel direction called `forward`."""

    library: str
    module: nn.Module
    forward: Map
    inverse: Map

    def step(self, direction: Map, value: Tensor) -> None:
        """Leave the gradients of a loss through one direction in the parameters."""
        self.module.zero_grad()
        self.loss(direction, value).backward()

    @staticmethod
    def loss(direction: Map, value: Tensor) -> Tensor:
        """Return a negative log-likelihood, up to a constant."""
        value, ladj = direction(value)
        return (value.square().sum(-1) / 2 - ladj).mean()

    @property
    def visible_weights(self) -> int:
        """How many weights the masks let through."""
        buffers = self.module.named_buffers()
        return sum(int(mask.count_nonzero()) for name, mask in buffers if "mask" in name)


@dataclasses.dataclass(frozen=True)
class Pair:
    """Median times of the two directions, and their ratio."""

    forward_ms: float
    inverse_ms: float
    ratio: float
    ratio_quartiles: tuple[float, float]
    turns: int


@dataclasses.dataclass(frozen=True)
class Cell:
    """What was measured of one library at one size.

    Attributes:
        library: its name.
        size: of the layer and the batch.
        plain: calls without gradients, or why there is no number.
        step: training steps, or why there is no number.
        round_trip: the largest error of a feature in inverse(forward(z)).
        inverse_gflops: rate of the inverse, counting one pass over the unmasked weights.
    """

    library: str
    size: Size
    plain: Pair | str
    step: Pair | str
    round_trip: float | None = None
    inverse_gflops: float | None = None


@dataclasses.dataclass(frozen=True)
class Memory:
    """Peak bytes of a training step above the level before it."""

    size: Size
    forward: int
    inverse: int

    @property
    def ratio(self) -> float:
        return self.inverse / self.forward


def _invflow(size: Size) -> Layer:
    univariate = Affine()
    widths = (size.width, size.width)
    made = MADE(size.features, univariate.start, widths, activation="relu")
    transform = Autoregressive(made, univariate)
    return Layer("invflow", transform, transform, transform.inverse)


def _zuko(size: Size) -> Layer:
    from zuko.flows.autoregressive import MaskedAutoregressiveTransform

    widths = (size.width, size.width)
    module = MaskedAutoregressiveTransform(size.features, hidden_features=widths)
    return Layer(
        "zuko",
        module,
        lambda z: module().call_and_ladj(z),
        lambda x: module().inv.call_and_ladj(x),
    )


def _nflows(size: Size) -> Layer:
    from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform

    # The first hidden layer is outside the blocks; a block without a residual is one more layer.
    module = MaskedAffineAutoregressiveTransform(
        size.features, size.width, num_blocks=1, use_residual_blocks=False
    )
    return Layer("nflows", module, module, module.inverse)


LIBRARIES: dict[str, Callable[[Size], Layer]] = {
    "invflow": _invflow,
    "zuko": _zuko,
    "nflows": _nflows,
}


def build(library: str, size: Size, noise: float = 1.0) -> tuple[Layer, Tensor, Tensor]:
    """Return a layer a little away from its initial values, z, and x = forward(z)."""
    torch.manual_seed(0)
    layer = LIBRARIES[library](size)
    with torch.no_grad():
        for parameter in layer.module.parameters():
            parameter.add_(noise * torch.randn_like(parameter) / size.width**0.5)
        z = torch.randn(size.batch, size.features)
        x, _ = layer.forward(z)
    return layer, z, x


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def take_turns(
    forward: Callable[[], object], inverse: Callable[[], object], effort: Effort
) -> Pair:
    """Time two calls alternately, after a warm-up that sets the number of rounds."""
    begin = time.perf_counter()
    while True:
        turn = _seconds(forward) + _seconds(inverse)
        if time.perf_counter() - begin >= effort.warm_up:
            break
    count = min(max(int(effort.seconds / turn), effort.fewest), effort.most)
    times = [(_seconds(forward), _seconds(inverse)) for _ in range(count)]
    forward_time, inverse_time = (statistics.median(column) for column in zip(*times, strict=True))
    low, _, high = statistics.quantiles([b / a for a, b in times], n=4, method="inclusive")
    return Pair(
        forward_ms=1e3 * forward_time,
        inverse_ms=1e3 * inverse_time,
        ratio=inverse_time / forward_time,
        ratio_quartiles=(low, high),
        turns=count,
    )


def _memory_free() -> int:
    """Return the bytes that can still be allocated, as far as the system says."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _kept_bytes(layer: Layer, z: Tensor) -> int:
    """Return the bytes that one pass keeps for its gradient, apart from the layer's own."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        loss = layer.loss(layer.forward, z)
    own = {
        tensor.untyped_storage().data_ptr()
        for tensor in (loss, *layer.module.parameters(), *layer.module.buffers())
    }
    return sum(size for pointer, size in kept.items() if pointer not in own)


def unaffordable(layer: Layer, z: Tensor, slowest: float) -> tuple[str | None, str | None]:
    """Say why D passes take too long or too much memory: without gradients, and in a step.

    None where they can be afforded. Judged by single passes, as D of them may never end.
    """
    passes = z.shape[-1]
    with torch.no_grad():
        plain = passes * min(_seconds(lambda: layer.forward(z)) for _ in range(3))
    step = passes * min(_seconds(lambda: layer.step(layer.forward, z)) for _ in range(3))
    graph = passes * _kept_bytes(layer, z)

    def reason(seconds: float) -> str | None:
        return f"D passes would take about {seconds:.0f} s a call" if seconds > slowest else None

    too_large = f"the graph of D passes would take about {graph / 2**30:.0f} GiB"
    return reason(plain), reason(step) or (too_large if graph > 0.8 * _memory_free() else None)


def measure(library: str, size: Size, effort: Effort, noise: float = 1.0) -> Cell:
    """Measure one library at one size."""
    layer, z, x = build(library, size, noise)
    skip_plain, skip_step = (
        unaffordable(layer, z, effort.slowest) if library in PEERS else (None, None)
    )
    step = skip_step or take_turns(
        lambda: layer.step(layer.forward, z), lambda: layer.step(layer.inverse, x), effort
    )
    if skip_plain:
        return Cell(library, size, skip_plain, step)
    with torch.no_grad():
        plain = take_turns(lambda: layer.forward(z), lambda: layer.inverse(x), effort)
        error = float((layer.inverse(x)[0] - z).abs().max())
    operations = 2 * size.batch * layer.visible_weights
    return Cell(library, size, plain, step, error, operations / plain.inverse_ms / 1e6)


def try_to_measure(library: str, size: Size, effort: Effort) -> Cell:
    """Measure, or say why not: one library's failure leaves the others their rows."""
    if version(library) is None:
        return Cell(library, size, "not installed", "not installed")
    try:
        return measure(library, size, effort)
    except Exception as error:
        reason = f"failed: {type(error).__name__}: {error}"
        return Cell(library, size, reason, reason)


def dense_gflops(effort: Effort, size: int = 2048) -> float:
    """Return the rate of a dense square matrix product."""
    a, b = torch.randn(2, size, size)
    turns = take_turns(lambda: a @ b, lambda: a @ b, effort)
    return 2 * size**3 / turns.forward_ms / 1e6


def _peak(size: Size, direction: str, threads: int) -> int:
    """Return the peak bytes of one step of invflow's layer above the level before it."""
    from invflow.kernels.cpu import memory  # here, as `peers.py` takes other source trees too

    torch.set_num_threads(threads)
    layer, z, x = build("invflow", size)
    run, value = (layer.forward, z) if direction == "forward" else (layer.inverse, x)
    layer.step(run, value)
    layer.module.zero_grad()
    memory.clear()  # existing memory would not be counted
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        layer.step(run, value)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        record.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    changes = [
        (event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"
    ]
    level = peak = 0
    for _, change in sorted(changes, key=lambda change: change[0]):
        level += change
        peak = max(peak, level)
    return peak


def measure_memory(size: Size, threads: int) -> Memory | str:
    """Measure each direction's training step in a fresh process; say why where that fails."""
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
            forward = pool.submit(_peak, size, "forward", threads).result()
            inverse = pool.submit(_peak, size, "inverse", threads).result()
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"
    return Memory(size, forward, inverse)


def version(package: str) -> str | None:
    """Return the version of an installed package, None if there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Return the name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def environment(threads: int) -> dict[str, str]:
    """Return what the numbers depend on."""
    versions = {name: version(name) or "not installed" for name in ("torch", *LIBRARIES)}
    return {
        "cpu": processor(),
        "threads": str(threads),
        "python": platform.python_version(),
        **versions,
    }


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table with columns of even width."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| "
        + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        + " |"
        for line in (header, rule, *rows)
    )


def _verdict(ratio: float, target: float | None) -> str:
    if target is None:
        return "-"
    return f"<= {target:g}: {'met' if ratio <= target else 'missed'}"


def _milliseconds(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _columns(pair: Pair | str, target: float | None) -> list[str]:
    if isinstance(pair, str):
        short = pair if pair == "not installed" else pair.partition(":")[0]
        return [short if short in ("not installed", "failed") else "skipped", "", "", ""]
    low, high = pair.ratio_quartiles
    return [
        _milliseconds(pair.forward_ms),
        _milliseconds(pair.inverse_ms),
        f"{pair.ratio:.2f} [{low:.2f}, {high:.2f}]",
        _verdict(pair.ratio, target),
    ]


def directions_table(cells: list[Cell]) -> str:
    """Return the table of both directions, without gradients and in training steps."""
    header = ["D/width/batch", "library"]
    for what in ("", "step "):
        header += [f"{what}forward ms", f"{what}inverse ms", f"{what}ratio [quartiles]", "target"]
    rows: list[list[str]] = []
    for cell in cells:
        ours = cell.library == "invflow"
        plain, step = TARGETS.get(cell.size, (None, None)) if ours else (None, None)
        rows.append(
            [str(cell.size), cell.library, *_columns(cell.plain, plain), *_columns(cell.step, step)]
        )
    return table(header, rows)


def rates_table(cells: list[Cell], dense: float) -> str:
    """Return how much of the dense rate the inverse achieves, counting unmasked weights only."""
    header = ["D/width/batch", "inverse GFLOP/s", "of the dense rate", "largest round-trip error"]
    rows = [
        [
            str(cell.size),
            f"{cell.inverse_gflops:.3g}",
            f"{100 * cell.inverse_gflops / dense:.3g} %",
            f"{cell.round_trip:.1e}",
        ]
        for cell in cells
        if cell.library == "invflow" and cell.inverse_gflops is not None
    ]
    return table(header, rows)


def remarks(cells: list[Cell]) -> list[str]:
    """Return why numbers are missing, and whose are not to be trusted."""
    lines = [
        f"{cell.library} {cell.size}, {what}: {pair}"
        for cell in cells
        for what, pair in (("no gradients", cell.plain), ("step", cell.step))
        if isinstance(pair, str) and pair != "not installed"
    ]
    lines += [
        f"{cell.library} {cell.size}: the inverse is off by {cell.round_trip:.1e}"
        for cell in cells
        if cell.round_trip is not None and not cell.round_trip < 1e-2
    ]
    return lines


def memory_line(memory: Memory | str) -> str:
    """Return a line about the memory of a training step."""
    if isinstance(memory, str):
        return f"Memory of a training step at {MEMORY_SIZE}: {memory}"
    return (
        f"Peak memory of invflow's training step at {memory.size}: "
        f"forward {memory.forward / 1e6:.1f} MB, inverse {memory.inverse / 1e6:.1f} MB, "
        f"ratio {memory.ratio:.2f} ({_verdict(memory.ratio, MEMORY_TARGET)})"
    )


def _sizes(text: str) -> list[Size]:
    return [Size.parse(part) for part in text.split(",")]


def _libraries(text: str) -> list[str]:
    for name in (names := text.split(",")):
        if name not in LIBRARIES:
            raise argparse.ArgumentTypeError(f"expected {', '.join(LIBRARIES)}, got {name!r}")
    return names


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns, only fast peers")
    parser.add_argument(
        "--sizes",
        type=_sizes,
        default=list(TARGETS),
        help="D/width/batch, separated by commas",
    )
    parser.add_argument(
        "--libraries",
        type=_libraries,
        default=list(LIBRARIES),
        help="some of " + ", ".join(LIBRARIES) + ", separated by commas",
    )
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument(
        "--threads", type=int, default=2, help="number of PyTorch threads (default: 2)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Measure, print, and write."""
    options = parse(arguments)
    effort = QUICK if options.quick else FULL
    torch.set_num_threads(options.threads)
    about = environment(options.threads)
    print(", ".join(f"{name} {value}" for name, value in about.items()))

    cells: list[Cell] = []
    for size in options.sizes:
        for library in options.libraries:
            print(f"measuring {library} at {size} ...", file=sys.stderr)
            cells.append(try_to_measure(library, size, effort))
    print(f"measuring memory at {MEMORY_SIZE} ...", file=sys.stderr)
    memory = measure_memory(MEMORY_SIZE, options.threads)
    dense = dense_gflops(effort)

    print("\n" + directions_table(cells))
    for line in remarks(cells):
        print(f"- {line}")
    print("\n" + memory_line(memory))
    print(f"Dense matrix product: {dense:.0f} GFLOP/s. Of invflow's masked arithmetic:\n")
    print(rates_table(cells, dense))
    if options.json:
        content = {
            "environment": about,
            "cells": [dataclasses.asdict(cell) for cell in cells],
            "memory": memory if isinstance(memory, str) else dataclasses.asdict(memory),
            "dense_gflops": dense,
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
