"""Likelihoods of images after the same processor time: transformer flows, MAF and NSF.

Each flow is trained by maximum likelihood on one thread until its seconds of processor time are
spent, evaluations not counted: Adam, whose rate falls to zero along a cosine of the time
spent, gradients of norm 5 at most, batches of 128. Ten evaluations on validation images choose
the state that is tested; of runs with several rates the table has the one that is best on
validation images. Only the time is equal: autoregressive flows of both libraries have the
same layers, a TarFlow those of `SIZES`. invflow's MAF and NSF have `input_bound=10.0`, because
what they learn is standardised.

- digits: scikit-learn's 8 x 8 images, logits of the dequantised pixels with a margin of 0.05; an
  eighth for validation, a fifth to test.
- mnist: the same with a margin of 1e-6, as Papamakarios et al. 2017 have it; 1,000 of the last
  10,000 training images for validation.
- patches: of photographs, 63 numbers, as `density.py prepare` writes them; in nats.

    python benchmarks/equal_time.py run --data digits mnist.npz bsds300.npz [--seconds 300]
        [--flows ...] [--rates 0.001 0.0003] [--seed 0]
    python benchmarks/equal_time.py table
    python benchmarks/equal_time.py figure --out FILE.png

`run` makes a process for each and adds lines to `results/images/equal_time.csv`, one for each
evaluation and a last one, "test"; it leaves out what is there. `table` prints the tests: bits per
dimension of images (less is better), nats of patches (more is better). `figure` draws the
evaluations of the runs in the table. Needs zuko for its flows.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import lines
import numpy as np
import torch
import workers
from torch import Tensor, nn

import invflow
from invflow.flows import TarFlow
from invflow.images.pixels import bits_per_dim, squash

RESULTS = Path(__file__).parent / "results" / "images" / "equal_time.csv"
LABELS = ("data", "flow", "seconds", "rate", "seed")
FIELDS = (*LABELS, "spent", "updates", "what", "value", "unit", "note")
BITS, NATS = "bits per dimension", "nats"
BATCH, EVALUATIONS, AT_ONCE = 128, 10, 500
#: Transforms and hidden layers of MADEs, and those of transformers with the size of a patch.
SIZES: dict[str, dict[str, Any]] = {
    "digits": {"made": (5, (128, 128)), "attention": (4, (64, 64)), "patch": 2},
    "mnist": {"made": (5, (512, 512)), "attention": (4, (128, 128)), "patch": 4},
    "patches": {"made": (5, (256, 256)), "attention": (4, (64, 64)), "patch": 8},
}
Line = dict[str, str]


class Data(NamedTuple):
    """What is learned.

    Attributes:
        kind: "digits", "mnist" or "patches".
        train, validation, test: levels of pixels, or numbers, shape (rows, D).
        levels: of pixels; 0 for numbers.
        alpha: margin of the logit.
    """

    kind: str
    train: Tensor
    validation: Tensor
    test: Tensor
    levels: int = 0
    alpha: float = 0.0

    def reals(self, rows: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return what flows learn, and the log of its volume per volume of the data."""
        if not self.levels:
            return rows, torch.zeros(len(rows))
        noisy = rows.double() + torch.rand(rows.shape, generator=random, dtype=torch.float64)
        v, ladj = squash(rows.shape[1], self.levels, self.alpha).inverse(noisy)
        return v.float(), ladj.float()

    def value(self, nats: float) -> float:
        """Return a mean log-likelihood in its unit."""
        return bits_per_dim(nats, self.train.shape[1]) if self.levels else nats

    @property
    def unit(self) -> str:
        """The unit of a likelihood."""
        return BITS if self.levels else NATS


def load(name: str) -> Data:
    """Read digits, or a file of MNIST or of patches."""
    if name == "digits":
        from sklearn.datasets import load_digits

        images = torch.from_numpy(load_digits().data).float()
        images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
        test, held = len(images) // 5, len(images) // 8
        parts = images[test + held :], images[test : test + held], images[:test]
        return Data("digits", *parts, levels=17, alpha=0.05)
    with np.load(name) as file:
        if "train_images" in file:
            train, test = (
                torch.from_numpy(file[f"{part}_images"]).flatten(1) for part in ("train", "test")
            )
            return Data("mnist", train[:50_000], train[50_000:51_000], test, 256, 1e-6)
        train, validation, test = (
            torch.from_numpy(file[part]).float() for part in ("train", "validation", "test")
        )
        return Data("patches", train, validation[:10_000], test)


def flow_of(name: str, data: Data) -> nn.Module:
    """Return an untrained flow."""
    features, sizes = data.train.shape[1], SIZES[data.kind]
    transforms, hidden = sizes["made"]
    match name:
        case "invflow MAF":
            return invflow.MAF(features, 0, transforms, hidden, input_bound=10.0)
        case "invflow NSF":
            return invflow.NSF(features, 0, transforms, hidden, input_bound=10.0)
        case "invflow TarFlow" if data.kind == "patches":
            # A row of pixels at a time; the last row has seven.
            transforms, hidden = sizes["attention"]
            return invflow.MAF(
                features, 0, transforms, hidden, conditioner="attention", group=sizes["patch"],
                order="reverse",
            )  # fmt: skip
        case "invflow TarFlow":
            transforms, hidden = sizes["attention"]
            side = math.isqrt(features)
            return TarFlow((1, side, side), sizes["patch"], 0, transforms, hidden)
    import zuko.flows

    kind = {"zuko MAF": zuko.flows.MAF, "zuko NSF": zuko.flows.NSF}[name]
    return kind(features, transforms=transforms, hidden_features=hidden)


FLOWS = ("invflow TarFlow", "invflow MAF", "invflow NSF", "zuko MAF", "zuko NSF")


def worker(name: str, place: str, seconds: float, rate: float, seed: int) -> None:
    """Train a flow, and print its evaluations."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    data = load(place)
    random = torch.Generator().manual_seed(seed)
    whole = data.train[torch.randperm(len(data.train), generator=random)[:20_000]]
    reals = data.reals(whole, random)[0]
    mean, scale = reals.mean(0), reals.std(0).clamp(min=1e-3)
    volume = float(scale.log().sum())
    flow = flow_of(name, data)
    optimizer = torch.optim.Adam(flow.parameters(), rate)

    def nats(rows: Tensor, random: torch.Generator) -> Tensor:
        v, ladj = data.reals(rows, random)
        return flow().log_prob((v - mean) / scale) - volume + ladj

    @torch.no_grad()
    def likelihood(rows: Tensor) -> float:
        random = torch.Generator().manual_seed(seed + 1)
        found = [nats(part, random).double() for part in rows.split(AT_ONCE)]
        return float(torch.cat(found).mean())

    def say(what: str, value: float) -> None:
        found = {"what": what, "value": data.value(value), "unit": data.unit}
        workers.say({"spent": spent, "updates": updates, **found})

    best, state, spent, updates, looks = -math.inf, copy.deepcopy(flow.state_dict()), 0.0, 0, 0
    start = time.process_time()
    while spent < seconds:
        optimizer.param_groups[0]["lr"] = rate / 2 * (1 + math.cos(math.pi * spent / seconds))
        rows = data.train[torch.randint(len(data.train), (BATCH,), generator=random)]
        optimizer.zero_grad()
        (-nats(rows, random).mean()).backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimizer.step()
        updates += 1
        spent = time.process_time() - start
        if spent >= seconds * (looks + 1) / EVALUATIONS:
            looks = int(spent / seconds * EVALUATIONS)
            now = likelihood(data.validation)
            say("validation", now)
            if now > best:
                best, state = now, copy.deepcopy(flow.state_dict())
            start = time.process_time() - spent  # evaluations do not count
    flow.load_state_dict(state)
    say("test", likelihood(data.test))


def run(options: argparse.Namespace) -> None:
    """Train what is missing, each in a process of its own, and keep the lines."""
    ended = [line for line in lines.read(RESULTS) if line["what"] == "test" or line["note"]]
    done = {labels_of(line) for line in ended}
    for place, name, rate in itertools.product(options.data, options.flows, options.rates):
        numbers = [str(each) for each in (options.seconds, rate, options.seed)]
        labels = (Path(place).stem, name, *numbers)
        if labels in done:
            continue
        arguments = ["worker", name, place, *numbers]
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        found, last = workers.results(__file__, arguments, one_thread, 10 * options.seconds)
        if not found or found[-1]["what"] != "test":
            found.append({"note": f"failed: {last}"})
        named = dict(zip(LABELS, labels, strict=True))
        lines.add(RESULTS, FIELDS, [{**named, **line} for line in found])


def labels_of(line: Line) -> tuple[str, ...]:
    """Return what tells the runs apart."""
    return tuple(line[label] for label in LABELS)


def tested(found: list[Line]) -> list[Line]:
    """Return the tests of runs: of several rates, that of the best on validation rows.

    Runs that failed, or have a value that is not finite, are left out.
    """
    chosen: dict[tuple[str, ...], Line] = {}
    best: dict[tuple[str, ...], float] = {}
    for test in (line for line in found if line["what"] == "test"):
        own = [line for line in found if labels_of(line) == labels_of(test)]
        values = [float(line["value"]) for line in own if line["what"] == "validation"]
        if not values or not all(map(math.isfinite, [*values, float(test["value"])])):
            continue
        score = max(values) if test["unit"] == NATS else -min(values)
        setting = tuple(test[label] for label in LABELS if label != "rate")
        if score > best.get(setting, -math.inf):
            best[setting], chosen[setting] = score, test
    return list(chosen.values())


def table() -> str:
    """Return a Markdown table of the tests."""
    shown = ("data", "seconds", "flow", "rate", "updates", "value", "unit")
    text = [f"| {' | '.join(shown)} |", "| --- " * len(shown) + "|"]
    for test in tested(lines.read(RESULTS)):
        cells = {**test, "updates": f"{int(test['updates']):,}"}
        text.append(f"| {' | '.join(cells[name] for name in shown)} |")
    return "\n".join(text)


def draw(found: list[Line], out: Path) -> None:
    """Draw the evaluations on validation rows against the seconds of training."""
    from matplotlib.figure import Figure

    tests = tested(found)
    panels = sorted({(line["data"], float(line["seconds"])) for line in tests})
    rows = math.ceil(len(panels) / 2)
    figure = Figure(figsize=(10, 4 * rows))
    for place, (name, seconds) in enumerate(panels, 1):
        axis = figure.add_subplot(rows, 2, place)
        here = [line for line in tests if (line["data"], float(line["seconds"])) == (name, seconds)]
        for test in sorted(here, key=lambda line: FLOWS.index(line["flow"])):
            own = [line for line in found if labels_of(line) == labels_of(test)]
            curve = [line for line in own if line["what"] == "validation"]
            spent, values = ([float(line[key]) for line in curve] for key in ("spent", "value"))
            label = f"{test['flow']}, rate {float(test['rate']):g}"
            axis.plot(spent, values, marker=".", label=label, color=f"C{FLOWS.index(test['flow'])}")
        unit = here[0]["unit"]
        better = "more" if unit == NATS else "less"
        axis.set(
            title=f"{name}, {seconds:g} s",
            xlabel="seconds of training",
            ylabel=f"{unit} ({better} is better)",
        )
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=110)


def main(arguments: list[str]) -> None:
    """Run one of the commands."""
    if arguments[:1] == ["worker"]:
        name, place, seconds, rate, seed = arguments[1:]
        worker(name, place, float(seconds), float(rate), int(seed))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("run", "table", "figure"))
    parser.add_argument("--out", type=Path, default=Path("equal_time.png"))
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--flows", nargs="+", choices=FLOWS, default=list(FLOWS))
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-3, 3e-4])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    match options.command:
        case "run":
            run(options)
        case "table":
            print(table())
        case _:
            draw(lines.read(RESULTS), options.out)


if __name__ == "__main__":
    main(sys.argv[1:])
