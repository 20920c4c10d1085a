"""Densities of tables and image patches, compared with zuko and nflows trained the same way.

    python benchmarks/density.py prepare PHOTOGRAPHS.npz --out bsds300.npz
    python benchmarks/density.py train --data FILE.npz --model invflow-maf --seed 0
    python benchmarks/density.py run --data FILE.npz FILE.npz ... [--models ...] [--seeds 5]
    python benchmarks/density.py table
    python benchmarks/density.py time --data FILE.npz [--clock processor]

Data: a file with an array `data` is a table. Its rows are split 80/10/10 into training, validation
and test by `numpy.random.default_rng(0).permutation`, and its columns get mean zero and standard
deviation one by the training part. Likelihoods are nats per row in these standardised units. A
file that `prepare` wrote holds the three parts of patches. They are standardised too, but the
Jacobian is taken back: nats per patch, in the units of the MAF paper.

Training is the same for all: `TABLE` or `PATCHES` sets the number of updates of Adam, whose rate
decays to zero with a cosine, and the batches; gradients are clipped, and an update whose gradient
is not finite is skipped and counted. The result is the state with the best validation score: the
mean over all rows but the worst hundredth, because two rows of elevators are 58 and 115 standard
deviations away and would dominate. The test score is the mean over all rows.

All flows have the same number of autoregressive transforms, ReLU networks of the same widths,
reversed order after every transform, and splines of 8 bins on [-5, 5]; everything else has the
library's default, including the initial values and bounds of the scales. IAFs are trained by
maximum likelihood too, through the sequential direction. "unbounded" and "bounded" say whether the
input of a conditioner is bounded, if that is not the flow's default.

`run` trains what is missing from the results, alternating between models, and can be stopped at any
time: each (data, model, seed) is a line in a CSV file that is replaced whole. `table` prints the
mean over the seeds and, after ±, their standard deviation: of the mean of all test rows, of that
of all but the worst hundredth, and of the same of the validation rows; and the lowest
log-likelihood of any test or validation row under any seed. Older results lack some of these.

`time` makes some updates of each model, alternating, so that a machine that slows down slows all of
them. Times are medians over the turns, "ratio" is the median over the turns of the ratio to
invflow's flow of the same kind (for the IAF, to the MAF). On a machine that is busy with other
work, use --clock processor, which counts the processor time of one thread instead of wall time.

`prepare` follows the MAF paper: grey photographs in, `train` and `test` (BSDS300 has 200 and 100),
of which the first 180 of `train` give training patches and the others those for validation. Patches
are 8 x 8, from uniformly random places; with uniform noise added, divided by 256, their mean
subtracted, the last pixel dropped. A Gaussian's likelihood is printed as a check: 96.7 to 96.9 nats
for BSDS300 by the seed of the places, 96.67 in the paper.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import directions
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import invflow
from invflow._files import replacing
from invflow.training.batches import batch_size, batches


@dataclasses.dataclass(frozen=True)
class Budget:
    """Size of the flows and length of training.

    Attributes:
        transforms: autoregressive transforms in a flow.
        hidden: widths of the hidden layers of each.
        batch: rows in an update.
        updates: of the weights.
        rate: Adam's learning rate at the start.
        evaluate_every: updates between two looks at the validation part.
        clip: the largest norm of a gradient.
    """

    transforms: int
    hidden: tuple[int, int]
    batch: int
    updates: int
    rate: float
    evaluate_every: int
    clip: float = 5.0


TABLE = Budget(5, (64, 64), batch=256, updates=4_000, rate=1e-3, evaluate_every=200)
PATCHES = Budget(5, (512, 512), batch=512, updates=20_000, rate=1e-3, evaluate_every=1_000)
#: Patches for training, validation and test.
COUNTS = (1_000_000, 50_000, 250_000)


@dataclasses.dataclass(frozen=True)
class Data:
    """Standardised rows.

    Attributes:
        name: of the file.
        train: rows to learn from.
        validation: rows that choose the state.
        test: rows that are measured.
        nats: what to add to log-likelihoods.
        budget: for flows of such data.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    nats: float
    budget: Budget

    @staticmethod
    def load(path: Path, device: str) -> Data:
        """Read a table or patches."""
        with np.load(path) as file:
            if "data" in file:
                parts = _split(file["data"])
            else:
                parts = [file[part] for part in ("train", "validation", "test")]
            patches = "data" not in file
        mean = parts[0].mean(0, dtype=np.float64)
        scale = parts[0].std(0, dtype=np.float64)
        train, validation, test = (
            torch.from_numpy(((part - mean) / scale).astype(np.float32)).to(device)
            for part in parts
        )
        nats = -float(np.log(scale).sum()) if patches else 0.0
        budget = PATCHES if patches else TABLE
        return Data(path.stem, train, validation, test, nats, budget)

    @property
    def features(self) -> int:
        """The number of columns."""
        return self.train.shape[1]

    @property
    def batch(self) -> int:
        """Rows in an update."""
        return batch_size(self.budget.batch, len(self.train), 1)


def _split(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    order = np.random.default_rng(0).permutation(len(rows))
    return np.split(rows[order], [int(0.8 * len(rows)), int(0.9 * len(rows))])


@dataclasses.dataclass(frozen=True)
class Model:
    """A library's flow, and the log density of rows under it."""

    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]

    @property
    def parameters(self) -> int:
        """Number of parameters, without masked weights."""
        masks = [mask for name, mask in self.module.named_buffers() if "mask" in name]
        hidden = sum(mask.numel() - int(mask.count_nonzero()) for mask in masks)
        return sum(parameter.numel() for parameter in self.module.parameters()) - hidden


def ours(flow: Callable[..., invflow.Flow], **options: Any) -> Callable[[int, Budget], Model]:
    """Return what builds a flow of invflow."""

    def build(features: int, budget: Budget) -> Model:
        module = flow(
            features,
            transforms=budget.transforms,
            hidden_features=budget.hidden,
            activation="relu",
            **options,
        )
        return Model(module, lambda x: module().log_prob(x))

    return build


def _zuko(name: str) -> Callable[[int, Budget], Model]:
    def build(features: int, budget: Budget) -> Model:
        import zuko.flows

        flow = getattr(zuko.flows, name)
        module = flow(features, transforms=budget.transforms, hidden_features=budget.hidden)
        return Model(module, lambda x: module().log_prob(x))

    return build


def _nflows(features: int, budget: Budget) -> Model:
    from nflows.flows.autoregressive import MaskedAutoregressiveFlow

    # The first hidden layer is outside the blocks; a block without a residual is one more layer.
    module = MaskedAutoregressiveFlow(
        features,
        budget.hidden[0],
        num_layers=budget.transforms,
        num_blocks_per_layer=len(budget.hidden) - 1,
        use_residual_blocks=False,
    )
    return Model(module, module.log_prob)


#: By name, what builds a flow; the first of a kind is invflow's, which ratios of times refer to.
MODELS: dict[str, Callable[[int, Budget], Model]] = {
    "invflow-maf": ours(invflow.MAF),
    "invflow-iaf": ours(invflow.IAF),
    "invflow-iaf-unbounded": ours(invflow.IAF, input_bound=None),
    "invflow-maf-bounded": ours(invflow.MAF, input_bound=10.0),
    "zuko-maf": _zuko("MAF"),
    "nflows-maf": _nflows,
    "invflow-nsf": ours(invflow.NSF),
    "zuko-nsf": _zuko("NSF"),
}


class Trainee:
    """A model, its optimizer, and the batches to come."""

    def __init__(self, data: Data, model: str, seed: int) -> None:
        self.data, self.budget = data, data.budget
        torch.manual_seed(seed)
        self.model = MODELS[model](data.features, data.budget)
        self.model.module.to(data.train.device)
        self.optimizer = torch.optim.Adam(
            self.model.module.parameters(), self.budget.rate, fused=True
        )
        updates = self.budget.updates
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, updates)
        self.batches = batches([len(data.train)], data.batch, updates, seed, 0)
        self.skipped = 0

    def update(self) -> int:
        """Make the next update, and return its number, counted from one."""
        number, rows = next(self.batches)
        self.optimizer.zero_grad()
        loss = -self.model.log_prob(self.data.train[rows.to(self.data.train.device)]).mean()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.module.parameters(), self.budget.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        else:
            self.skipped += 1
        self.schedule.step()
        return number

    @torch.no_grad()
    def likelihoods(self, rows: Tensor) -> Tensor:
        """Return the log-likelihood of each row, in nats."""
        self.model.module.eval()
        parts = [self.model.log_prob(part).double() for part in rows.split(4096)]
        self.model.module.train()
        return torch.cat(parts) + self.data.nats


def trimmed(values: Tensor) -> float:
    """Return the mean of all but the lowest hundredth."""
    return float(values.sort().values[len(values) // 100 :].mean())


@dataclasses.dataclass(frozen=True)
class Result:
    """Results of a training; likelihoods in nats per row.

    Attributes:
        data: its name.
        model: its name.
        seed: of the initial weights and the order of the batches.
        parameters: how many there are.
        updates: how many were made.
        best_update: the one after which the validation part was best.
        skipped: updates whose gradient was not finite.
        validation: the trimmed mean there.
        test: the mean.
        test_trimmed: the trimmed mean.
        worst: the lowest of any row of both parts.
        seconds: of training, evaluations included.
    """

    data: str
    model: str
    seed: int
    parameters: int
    updates: int
    best_update: int
    skipped: int
    validation: float
    test: float
    test_trimmed: float
    worst: float
    seconds: float

    @property
    def key(self) -> tuple[str, str, int]:
        return self.data, self.model, self.seed


def train(data: Data, model: str, seed: int) -> Result:
    """Train a model, and measure the state that was best on the validation part."""
    trainee = Trainee(data, model, seed)
    begin, best, best_update, state = time.perf_counter(), -np.inf, 0, None
    for _ in range(data.budget.updates):
        number = trainee.update()
        if number % data.budget.evaluate_every == 0:
            value = trimmed(trainee.likelihoods(data.validation))
            if value > best:
                best, best_update = value, number
                weights = trainee.model.module.state_dict()
                state = {name: tensor.clone() for name, tensor in weights.items()}
    if state is None:
        raise FloatingPointError(f"{model} on {data.name}: no validation likelihood is finite")
    trainee.model.module.load_state_dict(state)
    validation, test = map(trainee.likelihoods, (data.validation, data.test))
    return Result(
        data=data.name,
        model=model,
        seed=seed,
        parameters=trainee.model.parameters,
        updates=data.budget.updates,
        best_update=best_update,
        skipped=trainee.skipped,
        validation=best,
        test=float(test.mean()),
        test_trimmed=trimmed(test),
        worst=float(torch.cat([validation, test]).min()),
        seconds=time.perf_counter() - begin,
    )


def read(path: Path) -> list[Result]:
    """Return the results so far."""
    if not path.exists():
        return []
    kinds = {"str": str, "int": int, "float": float}
    fields = [(field.name, kinds[str(field.type)]) for field in dataclasses.fields(Result)]
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Result(**{name: kind(row[name]) for name, kind in fields})
            for row in csv.DictReader(file)
        ]


def add(path: Path, result: Result) -> None:
    """Add a line to the results."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(Result)])
        writer.writeheader()
        writer.writerows(map(dataclasses.asdict, [*read(path), result]))


def run(
    paths: list[Path],
    models: list[str],
    seeds: list[int],
    out: Path,
    device: str,
    updates: int | None = None,
) -> None:
    """Train what is missing: all models of a seed, then the next seed."""
    loaded = {path: Data.load(path, device) for path in paths}
    if updates is not None:
        for path, data in loaded.items():
            every = min(data.budget.evaluate_every, updates)
            budget = dataclasses.replace(data.budget, updates=updates, evaluate_every=every)
            loaded[path] = dataclasses.replace(data, budget=budget)
    for seed, path, model in itertools.product(seeds, paths, models):
        key = (loaded[path].name, model, seed)
        if key in {result.key for result in read(out)}:
            continue
        print(f"training {model} on {key[0]}, seed {seed} ...", file=sys.stderr)
        result = train(loaded[path], model, seed)
        add(out, result)
        print(f"{result.test:.3f} nats, {result.seconds:.0f} s", file=sys.stderr)


def table(results: list[Result]) -> str:
    """Return a Markdown table of the results, averaged over seeds."""
    header = ["data", "model", "parameters", "test", "test, trimmed", "worst row", "validation"]
    lines: list[list[str]] = []
    names = dict.fromkeys(result.data for result in results)
    for data, model in itertools.product(names, MODELS):
        found = [each for each in results if (each.data, each.model) == (data, model)]
        if not found:
            continue
        updates = statistics.median(each.best_update for each in found)
        lines.append(
            [
                data,
                model,
                f"{found[0].parameters:,}",
                _mean_and_spread([each.test for each in found]),
                _mean_and_spread([each.test_trimmed for each in found]),
                _lowest([each.worst for each in found]),
                _mean_and_spread([each.validation for each in found]),
                f"{updates:,.0f} of {found[0].updates:,}",
                str(sum(each.skipped for each in found)),
                str(len(found)),
            ]
        )
    return directions.table([*header, "best update", "skipped", "seeds"], lines)


def _lowest(values: list[float]) -> str:
    return "" if any(map(math.isnan, values)) else f"{min(values):.3g}"


def _mean_and_spread(values: list[float]) -> str:
    if any(map(math.isnan, values)):
        return ""
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def measure(
    data: Data, models: list[str], clock: Callable[[], float], updates: int, seconds: float
) -> list[list[str]]:
    """Return lines of a table of times, from turns of some updates of each model."""
    trainees = {model: Trainee(data, model, 0) for model in models}

    def turn(trainee: Trainee) -> float:
        _finish(data)
        start = clock()
        for _ in range(updates):
            trainee.update()
        _finish(data)
        return (clock() - start) / updates

    for trainee in trainees.values():
        turn(trainee)
    begin = time.perf_counter()
    rounds: list[dict[str, float]] = []
    while len(rounds) < 3 or time.perf_counter() - begin < seconds:
        rounds.append({model: turn(trainee) for model, trainee in trainees.items()})
    lines: list[list[str]] = []
    for model, trainee in trainees.items():
        each = statistics.median(times[model] for times in rounds)
        ours = "invflow-nsf" if model.endswith("nsf") else "invflow-maf"
        ratios = [times[model] / times[ours] for times in rounds if ours in times]
        epoch = each * (len(data.train) // data.batch)
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        size = f"{trainee.model.parameters:,}"
        line = [data.name, model, size, f"{1e3 * each:.3g}", f"{epoch:.3g}", ratio]
        lines.append([*line, str(len(rounds))])
    return lines


def _finish(data: Data) -> None:
    if data.train.is_cuda:
        torch.cuda.synchronize()


def prepare(photographs: Path, out: Path, counts: tuple[int, ...]) -> None:
    """Write patches, and print what a Gaussian gets."""
    with np.load(photographs) as file:
        images, test = file["train"], file["test"]
    rng = np.random.default_rng(0)
    parts = [
        draw_patches(source, count, rng)
        for source, count in zip((images[:180], images[180:], test), counts, strict=True)
    ]
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.savez(file, **dict(zip(("train", "validation", "test"), parts, strict=True)))
    for part, rows in zip(("training", "validation", "test"), parts, strict=True):
        print(f"{part}: {len(rows):,} patches of {rows.shape[1]} numbers")
    print(f"a Gaussian's test log-likelihood: {gaussian(parts[0], parts[2]):.2f} nats")


def draw_patches(
    images: NDArray[np.uint8], count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return patches of 8 x 8 pixels, dequantised, less their mean, without the last pixel."""
    size = 8
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    places = tuple(rng.integers(0, length, count) for length in windows.shape[:3])
    pixels = windows[places].reshape(count, size * size)
    values = (pixels + rng.random(pixels.shape, np.float32)) / np.float32(256)
    return (values - values.mean(1, keepdims=True))[:, :-1]


def gaussian(train: NDArray[np.float32], test: NDArray[np.float32]) -> float:
    """Return the mean log-likelihood, in nats, of `test` under a Gaussian fitted to `train`."""
    mean = torch.from_numpy(train.mean(0, dtype=np.float64))
    covariance = torch.from_numpy(np.cov(train, rowvar=False, dtype=np.float64))
    fitted = MultivariateNormal(mean, covariance)
    parts = torch.from_numpy(test).split(10_000)
    return sum(float(fitted.log_prob(part.double()).sum()) for part in parts) / len(test)


def _models(text: str) -> list[str]:
    for name in (names := text.split(",")):
        if name not in MODELS:
            raise argparse.ArgumentTypeError(f"expected {', '.join(MODELS)}, got {name!r}")
    return names


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("prepare", help="cut patches from photographs")
    command.add_argument("photographs", type=Path)
    command.add_argument("--counts", type=int, nargs=3, default=COUNTS)
    command.add_argument("--out", type=Path, required=True)

    running = {name: commands.add_parser(name) for name in ("train", "run", "time")}
    for command in running.values():
        command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
        command.add_argument(
            "--threads", type=int, default=1, help="number of PyTorch threads (default: 1)"
        )
    running["train"].add_argument("--data", type=Path, required=True)
    running["train"].add_argument("--model", choices=tuple(MODELS), required=True)
    running["train"].add_argument("--seed", type=int, default=0)
    for name in ("run", "time"):
        running[name].add_argument("--data", type=Path, nargs="+", required=True)
        running[name].add_argument("--models", type=_models, default=list(MODELS))
    running["run"].add_argument("--seeds", type=int, default=5, help="number of seeds (default: 5)")
    running["time"].add_argument("--updates", type=int, default=20, help="in a turn")
    running["time"].add_argument("--seconds", type=float, default=20, help="time for each file")
    running["time"].add_argument("--clock", choices=("wall", "processor"), default="wall")

    for command in (running["train"], running["run"]):
        command.add_argument("--updates", type=int, help="number of updates, overriding the budget")
    for command in (running["train"], running["run"], commands.add_parser("table")):
        command.add_argument("--out", type=Path, default=Path("runs/density.csv"))
    options = parser.parse_args(arguments)
    processor = options.command == "time" and options.clock == "processor"
    if processor and (options.threads > 1 or options.device != "cpu"):
        parser.error("--clock processor: expected --threads 1 and --device cpu")
    return options


def main(arguments: list[str]) -> None:
    """Prepare, train, or print."""
    options = parse(arguments)
    if options.command == "prepare":
        prepare(options.photographs, options.out, tuple(options.counts))
        return
    if options.command == "table":
        print(table(read(options.out)))
        return
    torch.set_num_threads(options.threads)
    if options.command == "train":
        seeds = [options.seed]
        run([options.data], [options.model], seeds, options.out, options.device, options.updates)
    elif options.command == "run":
        seeds = list(range(options.seeds))
        run(options.data, options.models, seeds, options.out, options.device, options.updates)
    else:
        about = directions.environment(options.threads)
        print(", ".join(f"{name} {value}" for name, value in about.items()))
        clock = time.perf_counter if options.clock == "wall" else time.process_time
        lines: list[list[str]] = []
        for path in options.data:
            data = Data.load(path, options.device)
            lines += measure(data, options.models, clock, options.updates, options.seconds)
        header = ["data", "model", "parameters", "update, ms", "epoch, s", "ratio", "turns"]
        print(f"{options.clock} time\n\n" + directions.table(header, lines))


if __name__ == "__main__":
    main(sys.argv[1:])
