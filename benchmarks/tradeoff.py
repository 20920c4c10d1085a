"""IAF against MAF: the cost of sampling, densities and both kinds of training, by conditioner.

According to the textbooks, an IAF samples in O(1) passes and needs O(D) for the density of given
data, a MAF the other way round, so each can be trained in only one way. Both are the same
autoregressive transform in opposite directions, so four measurements give both columns:

- sampling with an IAF, the density of data with a MAF: the parallel direction, no gradients;
- the density of data with an IAF, sampling with a MAF: the sequential one, no gradients;
- training an IAF by variational inference, a MAF by maximum likelihood: a step, parallel;
- training an IAF by maximum likelihood, a MAF by variational inference: a step, sequential.

Measured for one affine transform in float32 as in directions.py, whose rules apply.

    python benchmarks/tradeoff.py [--quick] [--features 8,64,512] [--json FILE] [--threads N]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import directions
import torch
from directions import Cell, Effort, Layer, Pair, Size

from invflow.conditioners import CONDITIONERS
from invflow.transforms import Autoregressive
from invflow.univariate import Affine

#: Width of two hidden layers (or blocks), and batch, by number of features.
SIZES = {8: Size(8, 64, 256), 64: Size(64, 128, 256), 512: Size(512, 256, 64)}


def _ours(conditioner: str) -> Callable[[Size], Layer]:
    def build(size: Size) -> Layer:
        univariate = Affine()
        widths = (size.width, size.width)
        network = CONDITIONERS[conditioner](size.features, univariate.start, widths)
        transform = Autoregressive(network, univariate)
        return Layer(conditioner, transform, transform, transform.inverse)

    return build


#: How far parameters are from their start: inverses of deep random networks lose all digits of
#: single precision when they are as far as in directions.py.
NOISE = 0.4
OURS = {f"invflow, {name}": _ours(name) for name in ("made", "lstm", "attention")}
COLUMNS = (
    "D",
    "library, conditioner",
    "IAF sampling, MAF density",
    "IAF density, MAF sampling",
    "IAF by VI, MAF by ML",
    "IAF by ML, MAF by VI",
)
TEXTBOOK = ("", "textbook, in passes", "O(1)", "O(D)", "O(1)", "O(D)")


def _times(pair: Pair | str) -> tuple[str, str]:
    if isinstance(pair, str):
        return "skipped", "skipped"
    return (
        f"{pair.forward_ms:.3g} ms",
        f"{pair.inverse_ms:.4g} ms ({pair.ratio:.3g}x)",
    )


def row(cell: Cell) -> list[str]:
    """Return a line of the table; in brackets the ratio to the parallel direction."""
    plain, step = _times(cell.plain), _times(cell.step)
    return [str(cell.size.features), cell.library, *plain, *step]


def main(arguments: list[str]) -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns, only fast peers")
    parser.add_argument(
        "--features", default="8,64,512", help="some of " + ", ".join(map(str, SIZES))
    )
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument(
        "--threads", type=int, default=2, help="number of PyTorch threads (default: 2)"
    )
    options = parser.parse_args(arguments)
    try:
        sizes = [SIZES[int(text)] for text in options.features.split(",")]
    except (ValueError, KeyError):
        parser.error(f"--features: expected some of 8,64,512, got {options.features!r}")
    effort: Effort = directions.QUICK if options.quick else directions.FULL
    torch.set_num_threads(options.threads)
    about = directions.environment(options.threads)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    directions.LIBRARIES.update(OURS)

    cells: list[Cell] = []
    for size in sizes:
        for library in (*OURS, *filter(directions.version, directions.PEERS)):
            print(f"measuring {library} at {size} ...", file=sys.stderr)
            cells.append(directions.measure(library, size, effort, NOISE))
    print("\n" + directions.table(list(COLUMNS), [list(TEXTBOOK), *map(row, cells)]))
    for line in directions.remarks(cells):
        print(f"- {line}")
    if options.json:
        content = {"environment": about, "cells": [dataclasses.asdict(cell) for cell in cells]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
