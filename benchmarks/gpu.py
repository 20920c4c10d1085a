"""The cost of an autoregressive layer's sequential direction on a CUDA device, by method.

Measured for one affine MADE layer with two hidden layers of ReLUs, at batch 4096, in float32 and
bfloat16, alternating with the parallel direction of the same layer:

- inverse: without gradients, in passes of the parallel direction;
- training: the loss mean(|value|^2 / 2 - ladj) through the inverse and its backward pass, in steps
  of the same through the parallel direction; no optimizer;
- error: of the inverse, relative to its norm, against the sweep in double precision with the same
  weights.

The ways are the kernels ("compiled"), the sweep in PyTorch ("cached"), the same captured as a CUDA
graph ("graph", without gradients), and "fixed_point". At the end the script names the fastest for
each number of features, which `inverse="auto"` should use on a GPU (`kernels/door.py`).

    python benchmarks/gpu.py [--quick] [--sizes 8/64/4096,...]

A time is a median, measured on the host around calls that wait for the device to finish. A way that
fails is named with its error, and the others are still measured.
"""

from __future__ import annotations

import argparse
import copy
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from directions import FULL, QUICK, Effort, Layer, Pair, Size, build, table, take_turns, version
from torch import Tensor

SIZES = [Size(8, 64, 4096), Size(64, 512, 4096), Size(256, 512, 4096), Size(784, 1024, 4096)]
DTYPES = [torch.float32, torch.bfloat16]
WAYS = ("compiled", "cached", "graph", "fixed_point")
HEADER = ["D/width/batch", "dtype", "way", "forward ms", "inverse ms", "ratio"]
HEADER += ["step forward ms", "step inverse ms", "step ratio", "error"]


@dataclass(frozen=True)
class Cell:
    """What was measured of one way at one size.

    Attributes:
        size: of the layer and the batch.
        dtype: of its numbers.
        way: the inverse taken.
        plain: calls without gradients.
        step: training steps; None for a way that has none.
        error: of the inverse, relative to its norm.
    """

    size: Size
    dtype: torch.dtype
    way: str
    plain: Pair
    step: Pair | None
    error: float

    def row(self) -> list[str]:
        """Return the cell as a line of the table."""
        pairs: list[str] = []
        for pair in (self.plain, self.step):
            if pair is None:
                pairs += ["-"] * 3
            else:
                pairs += [f"{pair.forward_ms:.3g}", f"{pair.inverse_ms:.3g}", f"{pair.ratio:.2f}"]
        return [str(self.size), str(self.dtype)[6:], self.way, *pairs, f"{self.error:.1e}"]


def _finished(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Return a call that waits for the device to finish."""
    if device.type == "cpu":
        return call

    def finished() -> None:
        call()
        torch.cuda.synchronize(device)

    return finished


def _captured(run: Callable[[Tensor], object], x: Tensor) -> tuple[Callable[[], object], object]:
    """Return what replays a call as a CUDA graph, and where it leaves the result."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run(x)
    return graph.replay, result


def measure(way: str, size: Size, dtype: torch.dtype, device: torch.device, effort: Effort) -> Cell:
    """Measure one way at one size."""
    layer, z, _ = build("invflow", size)
    transform = layer.module.to(device, dtype)
    transform.inverse_method = "cached" if way == "graph" else way
    layer = Layer("invflow", transform, transform, transform.inverse)
    z = z.to(device, dtype)
    with torch.no_grad():
        x, _ = transform(z)
        exact = copy.deepcopy(transform).double()
        exact.inverse_method = "cached"
        wanted, _ = exact.inverse(x.double())
        if way == "graph":
            inverse, result = _captured(transform.inverse, x)
            inverse()
        else:
            inverse, result = (lambda: transform.inverse(x)), transform.inverse(x)
        error = float((result[0] - wanted).norm() / wanted.norm())
        forward = _finished(lambda: transform(z), device)
        plain = take_turns(forward, _finished(inverse, device), effort)
    step = None
    if way != "graph":
        step = take_turns(
            _finished(lambda: layer.step(layer.forward, z), device),
            _finished(lambda: layer.step(layer.inverse, x), device),
            effort,
        )
    return Cell(size, dtype, way, plain, step, error)


def fastest(cells: Sequence[Cell]) -> list[str]:
    """Say which way has the fastest inverse, and which the fastest training, for each size."""
    lines: list[str] = []
    rivals = [(cell, cell.step) for cell in cells if cell.step is not None]
    for key in dict.fromkeys((cell.size, cell.dtype) for cell, _ in rivals):
        here = [(cell, step) for cell, step in rivals if (cell.size, cell.dtype) == key]
        inverse = min(here, key=lambda pair: pair[0].plain.inverse_ms)[0].way
        training = min(here, key=lambda pair: pair[1].inverse_ms)[0].way
        size, dtype = key
        lines.append(f"D = {size.features}, {str(dtype)[6:]}: {inverse}; training: {training}")
    return lines


def _sizes(text: str) -> list[Size]:
    return [Size.parse(part) for part in text.split(",")]


def main(arguments: list[str]) -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    parser.add_argument(
        "--sizes", type=_sizes, default=SIZES, help="D/width/batch, separated by commas"
    )
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a CUDA device, and PyTorch finds none")
    effort = QUICK if options.quick else FULL
    device = torch.device("cuda")
    print(
        f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, torch {version('torch')}, "
        f"triton {version('triton')}, Python {platform.python_version()}\n"
    )
    cells: list[Cell] = []
    for size in options.sizes:
        for dtype in DTYPES:
            for way in WAYS:
                try:
                    cells.append(measure(way, size, dtype, device, effort))
                except Exception as error:  # one way's failure leaves the others their rows
                    print(f"{size} {dtype} {way} failed: {type(error).__name__}: {error}")
    print(table(HEADER, [cell.row() for cell in cells]))
    print('\nFastest, which is what inverse="auto" should take on CUDA:')
    print("\n".join(fastest(cells)))


if __name__ == "__main__":
    main(sys.argv[1:])
