"""Groups of features: what larger groups save in time, and what they lose in likelihood.

`cost` measures one transform for each conditioner and group size, in both directions and in
training, as in directions.py, whose rules apply. A MADE is measured with affine maps and with
splines. (A masked convolution takes maps of 4 x 4
pixels, and groups no larger than a pixel.) `likelihood` trains MAFs that differ in their groups and
orders only, by the rules of density.py: on photographs and a table of scikit-learn, or on files of
density.py. `figure` draws what both have written.

    python benchmarks/groups.py cost --json FILE [--features 64,256,1024] [--quick] [--threads N]
    python benchmarks/groups.py likelihood --csv FILE [--data FILE ...] [--updates N] [--seeds 0,1]
    python benchmarks/groups.py figure --json FILE --csv FILE --out FILE.png
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import directions
import numpy as np
import torch
from directions import Layer, Size

import density
import invflow
from density import Budget, Data, Result
from invflow.conditioners import CONDITIONERS
from invflow.transforms import Autoregressive
from invflow.univariate import Affine, Spline, Univariate

#: Width of two hidden layers (or blocks), and batch, by number of features.
SIZES = {
    64: Size(64, 128, 256),
    256: Size(256, 256, 128),
    1024: Size(1024, 512, 64),
}
#: How far parameters are from their start: inverses of deep random networks lose all digits of
#: single precision when they are as far as in directions.py.
NOISE = 0.4
PIXELS = 4, 4
#: The conditioner and the map of what is measured, by name.
KINDS: dict[str, tuple[str, Univariate]] = {
    "made": ("made", Affine()),
    "made, splines": ("made", Spline()),
    "lstm": ("lstm", Affine()),
    "attention": ("attention", Affine()),
    "convolution": ("convolution", Affine()),
}
ORDERS = ("reverse", "random")
#: Patches to learn from, to choose by, and to test on.
COUNTS = (50_000, 5_000, 10_000)
BUDGET = Budget(5, (128, 128), batch=256, updates=4_000, rate=1e-3, evaluate_every=50)


def groups(features: int) -> list[int]:
    """Return the powers of four below half of the features, and that half."""
    powers = [4**k for k in range(features) if 4**k < features // 2]
    return [*powers, features // 2]


def layer(kind: str, group: int) -> Callable[[Size], Layer]:
    """Return what builds a layer for `directions.measure`."""

    def build(size: Size) -> Layer:
        (conditioner, univariate), widths = KINDS[kind], (size.width, size.width)
        options: dict[str, Any] = {"group": group}
        if conditioner == "convolution":
            options["shape"] = (size.features // math.prod(PIXELS), *PIXELS)
        network = CONDITIONERS[conditioner](size.features, univariate.start, widths, **options)
        transform = Autoregressive(network, univariate)
        return Layer(kind, transform, transform, transform.inverse)

    return build


@dataclasses.dataclass(frozen=True)
class Cost:
    """Milliseconds of one kind of transform with one group size.

    Attributes:
        kind: its name.
        features: their number, D.
        group: the size of a group.
        forward: the parallel direction, without gradients.
        inverse: the sequential direction, without gradients.
        forward_step: a training step through the parallel direction.
        inverse_step: a training step through the sequential direction.
    """

    kind: str
    features: int
    group: int
    forward: float
    inverse: float
    forward_step: float
    inverse_step: float


def cost(kind: str, size: Size, group: int, effort: directions.Effort) -> Cost:
    """Measure one kind of transform with one group size."""
    directions.LIBRARIES[kind] = layer(kind, group)
    cell = directions.measure(kind, size, effort, NOISE)
    if isinstance(cell.plain, str) or isinstance(cell.step, str):
        raise RuntimeError(f"{kind}, group={group}: {cell.plain}, {cell.step}")
    plain, step = cell.plain, cell.step
    times = plain.forward_ms, plain.inverse_ms, step.forward_ms, step.inverse_ms
    return Cost(kind, size.features, group, *times)


def costs(size: Size, kinds: Sequence[str], effort: directions.Effort) -> Iterator[Cost]:
    """Measure transforms at one size, with all groups that they can take."""
    channels = size.features // math.prod(PIXELS)
    for kind, group in itertools.product(kinds, groups(size.features)):
        if kind != "convolution" or channels % group == 0:
            print(f"measuring {kind} at {size}, group={group} ...", file=sys.stderr)
            yield cost(kind, size, group, effort)


def cost_table(found: Sequence[Cost]) -> str:
    """Return a Markdown table; in brackets the ratio to the parallel direction."""
    header = ["D", "conditioner", "group", "steps", "parallel", "sequential"]
    rows = [
        [
            str(each.features),
            each.kind,
            str(each.group),
            str(math.ceil(each.features / each.group)),
            f"{each.forward:.3g} ms",
            f"{each.inverse:.3g} ms ({each.inverse / each.forward:.3g}x)",
            f"{each.forward_step:.3g} ms",
            f"{each.inverse_step:.3g} ms ({each.inverse_step / each.forward_step:.3g}x)",
        ]
        for each in found
    ]
    return directions.table([*header, "training, parallel", "training, sequential"], rows)


def _name(order: str, group: int) -> str:
    return f"{order}, group={group}"


def register(features: int) -> list[str]:
    """Add the MAFs for this number of features to the models of density.py; return their names."""
    pairs = list(itertools.product(ORDERS, groups(features)))
    for order, group in pairs:
        build = density.ours(invflow.MAF, order=order, group=group)
        density.MODELS[_name(order, group)] = build
    return [_name(*pair) for pair in pairs]


def of_scikit_learn(folder: Path, counts: Sequence[int] = COUNTS) -> list[Path]:
    """Write a table and patches of photographs as density.py reads them."""
    from sklearn.datasets import load_breast_cancer, load_sample_images

    table, patches = folder / "breast_cancer.npz", folder / "photographs.npz"
    np.savez(table, data=load_breast_cancer().data.astype(np.float32))
    grey = np.stack([image.mean(2) for image in load_sample_images().images]).astype(np.uint8)
    # Of each photograph, the left half to learn from, a quarter to choose and a quarter to test.
    parts = np.split(grey, [320, 480], axis=2)
    rng = np.random.default_rng(0)
    drawn = [
        density.draw_patches(part, count, rng) for part, count in zip(parts, counts, strict=True)
    ]
    np.savez(patches, **dict(zip(("train", "validation", "test"), drawn, strict=True)))
    return [table, patches]


def likelihoods(paths: Sequence[Path], out: Path, seeds: Sequence[int], updates: int) -> None:
    """Train what is missing in the results, and print all."""
    budget = dataclasses.replace(BUDGET, updates=updates)
    budget = dataclasses.replace(budget, evaluate_every=min(budget.evaluate_every, updates))
    for path in paths:
        data = dataclasses.replace(Data.load(path, "cpu"), budget=budget)
        for seed, name in itertools.product(seeds, register(data.features)):
            if (data.name, name, seed) not in {result.key for result in density.read(out)}:
                print(f"training {name} on {data.name}, seed {seed} ...", file=sys.stderr)
                density.add(out, density.train(data, name, seed))
    print(density.table(density.read(out)))


def draw(found: Sequence[Cost], results: Sequence[Result], out: Path) -> None:
    """Draw the time of the sequential direction, and the likelihood, against the group size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4))
    times, nats = figure.subplots(1, 2)
    for kind, features in dict.fromkeys((c.kind, c.features) for c in found):
        own = [c for c in found if (c.kind, c.features) == (kind, features)]
        label = f"{kind}, D = {features}"
        sequential = [each.inverse for each in own]
        times.plot([each.group for each in own], sequential, marker=".", label=label)
    for data, order in itertools.product(dict.fromkeys(r.data for r in results), ORDERS):
        own = [r for r in results if r.data == data and r.model.startswith(order)]
        by_group: dict[int, list[float]] = {}
        for result in own:
            by_group.setdefault(int(result.model.partition("=")[2]), []).append(result.test_trimmed)
        means = {group: statistics.fmean(tests) for group, tests in sorted(by_group.items())}
        short = [means[1] - mean for mean in means.values()]
        nats.plot(list(means), short, marker=".", label=f"{data}, order={order!r}")
    times.set(ylabel="sequential direction, ms", yscale="log")
    nats.set(ylabel="nats per row short of group=1 (trimmed mean)")
    for axis in (times, nats):
        axis.set(xlabel="features in a group", xscale="log")
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_subparsers(dest="what", required=True)
    cost = what.add_parser("cost", help="measure times")
    cost.add_argument("--json", type=Path, required=True, help="where to write them")
    cost.add_argument("--features", default="64,256,1024", help="some of 64, 256, 1024")
    cost.add_argument("--kinds", default="/".join(KINDS), help="some of the default's")
    cost.add_argument("--quick", action="store_true", help="fewer turns")
    cost.add_argument("--threads", type=int, default=2, help="number of PyTorch threads")
    likelihood = what.add_parser("likelihood", help="train")
    likelihood.add_argument("--csv", type=Path, required=True, help="results, added to")
    likelihood.add_argument("--data", type=Path, nargs="*", help="files of density.py")
    likelihood.add_argument("--updates", type=int, default=BUDGET.updates)
    likelihood.add_argument("--seeds", default="0")
    likelihood.add_argument("--threads", type=int, default=2, help="number of PyTorch threads")
    figure = what.add_parser("figure", help="draw")
    figure.add_argument("--json", type=Path, required=True)
    figure.add_argument("--csv", type=Path, required=True)
    figure.add_argument("--out", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Measure, train or draw."""
    options = parse(arguments)
    if options.what == "figure":
        found = [Cost(**each) for each in json.loads(options.json.read_text())["costs"]]
        draw(found, density.read(options.csv), options.out)
        return
    torch.set_num_threads(options.threads)
    about = directions.environment(options.threads)
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    if options.what == "cost":
        sizes = [SIZES[int(text)] for text in options.features.split(",")]
        effort = directions.QUICK if options.quick else directions.FULL
        kinds = options.kinds.split("/")
        found = [each for size in sizes for each in costs(size, kinds, effort)]
        print("\n" + cost_table(found))
        content = {"environment": about, "costs": [dataclasses.asdict(each) for each in found]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = options.data or of_scikit_learn(Path(folder))
        seeds = [int(text) for text in options.seeds.split(",")]
        likelihoods(paths, options.csv, seeds, options.updates)


if __name__ == "__main__":
    main(sys.argv[1:])
