"""Compares both directions of four affine MADE layers of every library.

Measured in float32 for four autoregressive layers with two hidden layers each, with different
orders and otherwise each library's defaults:

- parallel: values and log-determinants of a batch, in the direction of one network pass per layer;
- inverse: the same in the other direction, for which other libraries need D passes per layer;
- training, in either direction: values and log-determinants with the gradients of all weights for
the
  loss mean(|value|^2 / 2 - ladj); no optimizer.

The libraries alternate, so that a machine that slows down slows all of them; a time is a median. A
turn begins with a pause, because threads of the previous turn keep processors busy while they wait
for work. It continues with calls, one after another as in a training loop, for a tenth of a second,
or four of them. The first half of the time (the first of four calls) does not count: it finds
caches full of other data, and threads asleep. A turn with calls of more than a fifth of a second
has a single one. Each library has its own process, with its own threads and memory; the other
processes wait for a message. flowjax is compiled (`jax.jit`), and its first calls do not count; the
others run with their defaults. In brackets, the time of the fastest other library divided by
invflow's. `--also LABEL=TREE` includes another source tree of invflow in the same turns; "LABEL /
invflow" is its time divided by this one's.

A second table compares invflow with lower bounds. Both directions of one MADE layer are expressed
in dense passes (one pass of an unmasked perceptron of the same widths, without log-determinants),
and the training step through the inverse in steps through the parallel direction. The rate of the
unmasked arithmetic is relative to the machine's rate for large matrix products. `--plot FILE` draws
the cost of both directions against D.

    python benchmarks/peers.py [--quick] [--sizes 8/64/256,...] [--libraries invflow,zuko,...]
                               [--also LABEL=TREE ...] [--plot FILE] [--threads N]

pip install zuko nflows normflows pyro-ppl flowjax; libraries that are not installed are left
out. All processes inherit the environment: `INVFLOW_KERNELS=avx2` measures those kernels.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from directions import FULL, QUICK, Effort, Size, dense_gflops, environment, table, version
from torch import Tensor, nn

import invflow
from invflow.conditioners import MADE
from invflow.transforms import Autoregressive

LAYERS = 4
#: What is measured, by name, and which direction it takes.
MODES = {
    "parallel": "forward",
    "training": "forward",
    "inverse": "inverse",
    "training through it": "inverse",
}
SIZES = [Size(8, 64, 256), Size(64, 256, 256), Size(64, 512, 1024)]
FLOORS = [
    Size(8, 64, 256),
    Size(32, 128, 256),
    Size(64, 512, 1024),
    Size(256, 512, 1024),
    Size(784, 1024, 256),
]
#: Seconds below which a turn is more than one call, of the pause before it, and of a turn of many.
STEADY, PAUSE, TURN = 0.2, 0.02, 0.1
Call = Callable[[], object]
#: Takes whether to keep calling until times are steady, and returns the seconds of calls.
Timer = Callable[[bool], list[float]]
Map = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Chain:
    """Layers of a PyTorch library."""

    module: nn.Module
    forward: Map
    inverse: Map

    def calls(self, size: Size) -> dict[str, Call]:
        """Return the calls to time."""
        z = torch.randn(size.batch, size.features)
        with torch.no_grad():
            x, _ = self.forward(z)
        values = {"forward": (self.forward, z), "inverse": (self.inverse, x.detach())}

        def plain(direction: str) -> Call:
            run, value = values[direction]

            def call() -> None:
                with torch.no_grad():
                    run(value)

            return call

        return {
            mode: (
                self.step(*values[direction]) if mode.startswith("training") else plain(direction)
            )
            for mode, direction in MODES.items()
        }

    def step(self, run: Map, value: Tensor) -> Call:
        """Return a training step without its optimizer."""

        def call() -> None:
            self.module.zero_grad()
            result, ladj = run(value)
            (result.square().sum(-1) / 2 - ladj).mean().backward()

        return call


def iaf(size: Size) -> invflow.IAF:
    """Return our layers."""
    widths = (size.width, size.width)
    return invflow.IAF(size.features, 0, LAYERS, widths, activation="relu")


def _invflow(size: Size) -> dict[str, Call]:
    flow = iaf(size)
    return Chain(flow, flow.transform, flow.transform.inverse).calls(size)


def _zuko(size: Size) -> dict[str, Call]:
    import zuko

    widths = (size.width, size.width)
    flow = zuko.flows.MAF(size.features, transforms=LAYERS, hidden_features=widths)
    return Chain(
        flow,
        lambda value: flow().transform.call_and_ladj(value),
        lambda value: flow().transform.inv.call_and_ladj(value),
    ).calls(size)


def _nflows(size: Size) -> dict[str, Call]:
    from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform
    from nflows.transforms.base import CompositeTransform
    from nflows.transforms.permutations import ReversePermutation

    layers: list[nn.Module] = []
    for _ in range(LAYERS):
        # The first hidden layer is outside the blocks; a block without a residual is one more
        # layer.
        layer = MaskedAffineAutoregressiveTransform(
            size.features, size.width, num_blocks=1, use_residual_blocks=False
        )
        layers += [layer, ReversePermutation(size.features)]
    chain = CompositeTransform(layers)
    return Chain(chain, chain, chain.inverse).calls(size)


def _normflows(size: Size) -> dict[str, Call]:
    import normflows

    layers = nn.ModuleList()
    for _ in range(LAYERS):
        layers.append(
            normflows.flows.MaskedAffineAutoregressive(
                size.features, size.width, num_blocks=1, use_residual_blocks=False
            )
        )
        layers.append(normflows.flows.Permute(size.features, mode="swap"))

    def along(each: list[Any], direction: str, value: Tensor) -> tuple[Tensor, Tensor]:
        total = value.new_zeros(len(value))
        for layer in each:
            value, ladj = getattr(layer, direction)(value)
            total = total + ladj
        return value, total

    return Chain(
        layers,
        lambda value: along(list(layers), "forward", value),
        lambda value: along(list(layers)[::-1], "inverse", value),
    ).calls(size)


def _pyro(size: Size) -> dict[str, Call]:
    from pyro.distributions.transforms import AffineAutoregressive, Permute
    from pyro.nn import AutoRegressiveNN

    widths = [size.width, size.width]
    layers = [AffineAutoregressive(AutoRegressiveNN(size.features, widths)) for _ in range(LAYERS)]
    flip = Permute(torch.arange(size.features).flip(0))

    def forward(value: Tensor) -> tuple[Tensor, Tensor]:
        total = value.new_zeros(len(value))
        for layer in layers:
            result = layer(value)
            total = total + layer.log_abs_det_jacobian(value, result)
            value = flip(result)
        return value, total

    def inverse(value: Tensor) -> tuple[Tensor, Tensor]:
        total = value.new_zeros(len(value))
        for layer in layers[::-1]:
            result = flip.inv(value)
            value = layer.inv(result)
            total = total - layer.log_abs_det_jacobian(value, result)
        return value, total

    return Chain(nn.ModuleList(layers), forward, inverse).calls(size)


def _flowjax(size: Size) -> dict[str, Call]:
    import equinox
    import jax
    import jax.numpy as jnp
    from flowjax.bijections import Affine
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow

    flow = masked_autoregressive_flow(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(size.features)),
        transformer=Affine(),
        flow_layers=LAYERS,
        nn_width=size.width,
        nn_depth=2,
    )
    chain = flow.bijection
    # A flow for densities: one pass takes data to noise.
    runs = {
        "forward": lambda chain, value: jax.vmap(chain.inverse_and_log_det)(value),
        "inverse": lambda chain, value: jax.vmap(chain.transform_and_log_det)(value),
    }

    def loss(chain: Any, run: Any, value: Any) -> Any:
        result, ladj = run(chain, value)
        return ((result**2).sum(-1) / 2 - ladj).mean()

    z = jax.random.normal(jax.random.key(1), (size.batch, size.features))
    values = {"forward": z, "inverse": equinox.filter_jit(runs["forward"])(chain, z)[0]}

    def call(mode: str, direction: str) -> Call:
        run, value = runs[direction], values[direction]
        if mode.startswith("training"):
            step = equinox.filter_jit(
                equinox.filter_grad(lambda chain, value: loss(chain, run, value))
            )
        else:
            step = equinox.filter_jit(run)
        return lambda: jax.block_until_ready(step(chain, value))

    return {mode: call(mode, direction) for mode, direction in MODES.items()}


LIBRARIES: dict[str, tuple[str, Callable[[Size], dict[str, Call]]]] = {
    "invflow": ("invflow", _invflow),
    "zuko": ("zuko", _zuko),
    "nflows": ("nflows", _nflows),
    "normflows": ("normflows", _normflows),
    "pyro": ("pyro-ppl", _pyro),
    "flowjax": ("flowjax", _flowjax),
}


def seconds(call: Call) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _steady(call: Call) -> list[float]:
    """Return how long calls take, one after another, once they have gone on for a while."""
    begin, times = time.perf_counter(), list[float]()
    while (spent := time.perf_counter() - begin) < TURN or len(times) < 3:
        took = seconds(call)
        times += [took] if spent > TURN / 2 else []
    return times


def timer(call: Call) -> Timer:
    """Return what times a call of this process."""
    return lambda steady: _steady(call) if steady else [seconds(call)]


def take_turns(timers: dict[str, Timer], effort: Effort) -> dict[str, float]:
    """Return the median milliseconds of calls that take turns; slow ones sit out some turns."""
    first: dict[str, float] = {}
    for name, timed in timers.items():
        timed(False)  # what is compiled, is compiled here
        first[name] = timed(False)[0]
    quickest = min(first.values())
    times: dict[str, list[float]] = {name: [] for name in timers}
    begin, turn = time.perf_counter(), 0
    while turn < effort.fewest or (
        turn < effort.most and time.perf_counter() - begin < effort.seconds
    ):
        for name, timed in timers.items():
            every = min(int(first[name] / quickest / 10) + 1, 50)
            if turn % every == 0 and (first[name] < effort.slowest or turn == 0):
                time.sleep(PAUSE)
                times[name] += timed(first[name] <= STEADY)
        turn += 1
    return {name: 1e3 * statistics.median(each) for name, each in times.items()}


@dataclass(frozen=True)
class Worker:
    """A process that has one library, or one source tree of invflow."""

    library: str
    messages: Connection

    def build(self, size: Size) -> None:
        """Rebuild the layers."""
        self._ask("build", size)

    def timer(self, mode: str) -> Timer:
        """Return what times a call of the layers."""
        return lambda steady: self._ask("time", mode, steady)

    def floors(self, size: Size, rate: float, effort: Effort) -> list[str]:
        """Return invflow's line about one layer."""
        return self._ask("floors", size, rate, effort)

    def _ask(self, *message: Any) -> Any:
        self.messages.send(message)
        return self.messages.recv()


@contextmanager
def worker(library: str, tree: Path | None, threads: int) -> Iterator[Worker]:
    """Start a process, and end it."""
    ours, theirs = Pipe()
    environment = dict(os.environ)
    if tree is not None:
        environment["PYTHONPATH"] = str(tree.resolve() / "src")
    descriptor = theirs.fileno()
    options = ["--serve", library, str(descriptor), "--threads", str(threads)]
    process = subprocess.Popen(
        [sys.executable, __file__, *options], pass_fds=[descriptor], env=environment
    )
    theirs.close()
    try:
        yield Worker(library, ours)
    finally:
        ours.close()
        process.wait()


def serve(library: str, messages: Connection) -> None:
    """Answer the messages of a `Worker` until it is gone."""
    timers: dict[str, Timer] = {}
    while True:
        try:
            what, *arguments = messages.recv()
        except EOFError:
            return
        answer = None
        if what == "build":
            torch.manual_seed(0)
            calls = LIBRARIES[library][1](*arguments)
            timers = {mode: timer(call) for mode, call in calls.items()}
        elif what == "time":
            mode, steady = arguments
            answer = timers[mode](steady)
        else:
            answer = against_floors(*arguments)
        messages.send(answer)


def against_peers(size: Size, workers: dict[str, Worker], effort: Effort) -> list[list[str]]:
    """Return a line of the table for each mode at a size."""
    for each in workers.values():
        each.build(size)
    lines: list[list[str]] = []
    for mode in MODES:
        found = take_turns({label: each.timer(mode) for label, each in workers.items()}, effort)
        ours = {label: found[label] for label in trees(workers)}
        others = [value for label, value in found.items() if label not in ours]
        cells = [
            f"{value:.3g}" + (f" [{min(others) / value:.3g}]" if label in ours and others else "")
            for label, value in found.items()
        ]
        ratios = [f"{value / found['invflow']:.2f}" for label, value in ours.items()][1:]
        lines.append([str(size), mode, *cells, *ratios])
    return lines


def trees(workers: dict[str, Worker]) -> list[str]:
    """Return the labels of those that have invflow, this one's first."""
    return [label for label, each in workers.items() if each.library == "invflow"]


def _layer(size: Size) -> tuple[Chain, MADE]:
    torch.manual_seed(0)
    made = MADE(size.features, (0.0, 0.0), (size.width, size.width), activation="relu")
    transform = Autoregressive(made, "affine")
    return Chain(transform, transform, transform.inverse), made


def _dense(size: Size) -> Call:
    network = nn.Sequential(
        nn.Linear(size.features, size.width),
        nn.ReLU(),
        nn.Linear(size.width, size.width),
        nn.ReLU(),
        nn.Linear(size.width, 2 * size.features),
    )
    value = torch.randn(size.batch, size.features)

    def call() -> None:
        with torch.no_grad():
            network(value)

    return call


def against_floors(size: Size, rate: float, effort: Effort) -> list[str]:
    """Return a line about one layer in units of dense passes."""
    chain, made = _layer(size)
    calls = {"dense": _dense(size), **chain.calls(size)}
    pair = {name: calls[name] for name in ("dense", "parallel", "inverse")}
    steps = {name: calls[name] for name in calls if name.startswith("training")}
    plain, steps = (
        take_turns({name: timer(call) for name, call in each.items()}, effort)
        for each in (pair, steps)
    )
    visible = sum(int(made.get_buffer(f"mask_{i}").sum()) for i in range(len(made.weights)))
    gflops = 2 * size.batch * visible / plain["inverse"] / 1e6
    return [
        str(size),
        f"{plain['dense']:.3g}",
        f"{plain['parallel'] / plain['dense']:.2f}",
        f"{plain['inverse'] / plain['dense']:.2f}",
        f"{steps['training through it'] / steps['training']:.2f}",
        f"{100 * gflops / rate:.0f} %",
    ]


def curve(
    workers: dict[str, Worker], effort: Effort
) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return milliseconds of both directions by library and D, as far as they can be waited for."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name, each in workers.items():
        modes = found.setdefault(name, {"parallel": [], "inverse": []})
        gone: set[str] = set()
        for features in (2**k for k in range(1, 13)):
            if gone == set(modes):
                break
            # Pyro takes no hidden layer that is narrower than the features.
            size = Size(features, max(64, min(2 * features, 1024), features), 64)
            each.build(size)
            for mode in set(modes) - gone:
                took = take_turns({name: each.timer(mode)}, effort)[name]
                modes[mode].append((features, took))
                if took > 1e3 * effort.slowest:
                    gone.add(mode)
    return found


def plot(found: dict[str, dict[str, list[tuple[int, float]]]], file: Path) -> None:
    """Draw the cost of both directions against D."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for k, (name, modes) in enumerate(found.items()):
        for mode, points in modes.items():
            if points:
                style = "-o" if mode == "inverse" else "--"
                axes.plot(
                    *zip(*points, strict=True), style, color=f"C{k}", ms=3, label=f"{name}, {mode}"
                )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="features, D",
        ylabel="milliseconds a call",
        title=f"{LAYERS} affine MADE layers, batch 64",
    )
    axes.set_xscale("log", base=2)
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(file, dpi=150)


def _sizes(text: str) -> list[Size]:
    return [Size.parse(part) for part in text.split(",")]


def _libraries(text: str) -> list[str]:
    for name in (names := text.split(",")):
        if name not in LIBRARIES:
            raise argparse.ArgumentTypeError(f"expected {', '.join(LIBRARIES)}, got {name!r}")
    return names


def _tree(text: str) -> tuple[str, Path]:
    label, _, path = text.partition("=")
    if not (label and label not in LIBRARIES and Path(path, "src", "invflow").is_dir()):
        raise argparse.ArgumentTypeError(f"expected LABEL=TREE with TREE/src/invflow, got {text!r}")
    return label, Path(path)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="rough numbers, sooner")
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="D/width/batch,...")
    parser.add_argument("--libraries", type=_libraries, default=list(LIBRARIES))
    parser.add_argument("--also", type=_tree, action="append", default=[], metavar="LABEL=TREE")
    parser.add_argument("--plot", type=Path, help="draw the cost against D, too")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.serve:
        library, descriptor = options.serve
        serve(library, Connection(int(descriptor)))
        return
    effort = QUICK if options.quick else FULL
    versions = {name: version(LIBRARIES[name][0]) or "not installed" for name in options.libraries}
    about = {**environment(options.threads), **versions}
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    there = [name for name in options.libraries if version(LIBRARIES[name][0])]
    processes: list[tuple[str, str, Path | None]] = [(name, name, None) for name in there]
    if options.also and "invflow" not in there:
        parser.error("--also: expected invflow among --libraries, to compare with")
    at = there.index("invflow") + 1 if "invflow" in there else 0
    processes[at:at] = [(label, "invflow", tree) for label, tree in options.also]
    with ExitStack() as stack:
        workers = {
            label: stack.enter_context(worker(library, tree, options.threads))
            for label, library, tree in processes
        }
        ours = trees(workers)
        lines: list[list[str]] = []
        for size in options.sizes:
            print(f"measuring {size} ...", file=sys.stderr)
            lines += against_peers(size, workers, effort)
        ratios = [f"{label} / invflow" for label in ours[1:]]
        print("\n" + table(["D/width/batch", "milliseconds", *workers, *ratios], lines))
        rate = dense_gflops(effort)
        print(f"\nDense matrix product: {rate:.0f} GFLOP/s. One layer of invflow:\n")
        header = ["", "D/width/batch", "dense pass ms", "parallel", "inverse", "steps"]
        floors = [
            [label, *workers[label].floors(size, rate, effort)] for size in FLOORS for label in ours
        ]
        print(table([*header, "of the rate"], floors))
        if options.plot:
            plot(curve(workers, QUICK), options.plot)


if __name__ == "__main__":
    main(sys.argv[1:])
