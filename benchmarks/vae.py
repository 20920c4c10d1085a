"""Images per second in VAE training, by network and posterior, and what a step consists of.

A step is that of the training loop: clear the gradients, compute the bound of a batch from one draw
of the latents and its backward pass, update the weights. The observations are already on the
device. A forward pass is only the bound, without gradients. Models:

- mlp, gated, resnet: VAEs of black and white images, 28 x 28, with 32 latents;
- maps-28, maps-32: small ResNet VAEs (one resolution of 2 layers, 32 features, 4 latent maps) of
  black and white images, 28 x 28, and of coloured ones, 32 x 32, with 256 levels;
- maps-28-mid, maps-32-mid: of 2 + 2 layers at two resolutions, 64 features, 16 latent maps.

The posteriors of a model alternate, so that a machine that slows down slows all of them. Times are
medians over the rounds, "ratio" is the median over the rounds of the ratio to the first posterior
of the model.

On a machine that is busy with other work, --clock processor counts the processor's time, of one
thread, instead of the wall's.

With --profile the time of steps under torch's profiler is broken down by what runs: on a CPU the
time of each operator without those that it calls, on a GPU that of the kernels that it launches.
The rest of the wall time is Python, and the idle time of a GPU. The profiler itself slows small
operators down; the script prints by how much.

    python benchmarks/vae.py [--models mlp,...] [--posteriors diagonal,...] [--batch N]
                             [--optimizer adam|adamax] [--device cpu|cuda]
                             [--precision 32-true|bf16-mixed] [--compile] [--threads N]
                             [--clock wall|processor] [--seconds S] [--profile MODEL/POSTERIOR]
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import directions
import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from invflow.vae import POSTERIORS, VAE, LatentModel, Objective, ResNetVAE
from invflow.vae.networks import starting

#: Wide enough for the widest of the models, and the paper's.
CONTEXTS = {"mlp": 64, "gated": 256, "resnet": 450}


def _vectors(network: str, posterior: str) -> VAE:
    context = CONTEXTS[network]
    return VAE((1, 28, 28), 2, "bernoulli", posterior, "normal", network, 32, None, context)


def _maps(
    colours: bool, depths: tuple[int, ...], feature_maps: int, latent_maps: int, posterior: str
) -> ResNetVAE:
    shape, levels = ((3, 32, 32), 256) if colours else ((1, 28, 28), 2)
    likelihood = "shared-logistic" if colours else "bernoulli"
    return ResNetVAE(
        shape,
        levels,
        likelihood,
        depths,
        feature_maps,
        latent_maps,
        flow_transforms=0 if posterior == "diagonal" else 1,
        flow_hidden_features=(feature_maps,),
    )


#: By name: what takes a posterior and returns a model.
MODELS: dict[str, Callable[[str], LatentModel]] = {
    **{network: partial(_vectors, network) for network in CONTEXTS},
    "maps-28": partial(_maps, False, (2,), 32, 4),
    "maps-28-mid": partial(_maps, False, (2, 2), 64, 16),
    "maps-32": partial(_maps, True, (2,), 32, 4),
    "maps-32-mid": partial(_maps, True, (2, 2), 64, 16),
}
PAIR = ("diagonal", "iaf")
#: As a run of training makes them.
OPTIMIZERS = {"adam": partial(torch.optim.Adam, fused=True), "adamax": torch.optim.Adamax}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
#: What an operator does, by the first pattern that is found in its name.
KINDS = {
    "products, convolutions": r"mm$|mm_|conv|linear|aten::(dot|mv|addmv)",
    "noise": r"normal_|randn|rand|bernoulli_",
    "copies, layout": r"copy|clone|contiguous|::cat|flip|pad|index|gather|scatter|repeat|roll",
    "compiled": r"Compiled|triton",
    "dispatch": r"^(?!aten::)|aten::(empty|view|reshape|_reshape|as_strided|expand|permute|t$"
    r"|transpose|select|slice|narrow|split|unbind|chunk|squeeze|unsqueeze|movedim|flatten"
    r"|unflatten|detach|alias|to$|_to_copy|result_type|resolve|lift|item|_local_scalar)",
    "elementwise, reductions": r"",
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is the same for all models.

    Attributes:
        batch: images in a step.
        optimizer: of `OPTIMIZERS`.
        device: "cpu" or "cuda".
        precision: "32-true" or "bf16-mixed".
        compile: whether the networks are compiled.
        clock: gives seconds.
    """

    batch: int
    optimizer: str
    device: str
    precision: str
    compile: bool
    clock: Callable[[], float]

    def finish(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()


class Trainee:
    """A model, a batch of noise images and an optimizer.

    Args:
        name: of `MODELS`.
        posterior: of the model's.
        setting: of the run.
    """

    def __init__(self, name: str, posterior: str, setting: Setting) -> None:
        torch.manual_seed(0)
        self.setting = setting
        self.model = MODELS[name](posterior).to(setting.device)
        levels = torch.randint(self.model.levels, (setting.batch, self.model.pixels))
        self.noise = torch.Generator(setting.device).manual_seed(0)
        self.x = self.model.observe(levels, self.noise)
        with starting(self.model):
            self.model.elbo(self.x, self.noise)
        if setting.compile:
            for network in self.model.networks:
                network.compile()
        self.optimizer = OPTIMIZERS[setting.optimizer](self.model.parameters(), lr=1e-4)

    def _loss(self) -> Tensor:
        mixed = self.setting.precision == "bf16-mixed"
        with torch.autocast(self.setting.device, torch.bfloat16, enabled=mixed):
            return Objective().loss(self.model, self.x, 1, self.noise)

    def step(self) -> None:
        """Make an update."""
        self.optimizer.zero_grad()
        self._loss().backward()
        self.optimizer.step()

    @torch.no_grad()
    def forward(self) -> None:
        """Compute the bound."""
        self._loss()

    def seconds(self, call: Callable[[], None]) -> float:
        """Return how long a call takes, the device's work included."""
        self.setting.finish()
        start = self.setting.clock()
        call()
        self.setting.finish()
        return self.setting.clock() - start

    def turn(self) -> tuple[float, float]:
        """Return the seconds of a step and of a forward pass."""
        return self.seconds(self.step), self.seconds(self.forward)


def measure(name: str, posteriors: list[str], setting: Setting, seconds: float) -> list[list[str]]:
    """Return the lines of the table for a model."""
    trainees = [Trainee(name, posterior, setting) for posterior in posteriors]
    for trainee in trainees:
        trainee.turn(), trainee.turn()
    begin = time.perf_counter()
    rounds: list[list[tuple[float, float]]] = []
    while len(rounds) < 3 or time.perf_counter() - begin < seconds:
        rounds.append([trainee.turn() for trainee in trainees])
    lines: list[list[str]] = []
    for i, (posterior, trainee) in enumerate(zip(posteriors, trainees, strict=True)):
        size = sum(parameter.numel() for parameter in trainee.model.parameters())
        line = [name, posterior, f"{size / 1e3:,.0f}"]
        for kind in (0, 1):
            time_of_one = statistics.median(each[i][kind] for each in rounds)
            ratio = statistics.median(each[i][kind] / each[0][kind] for each in rounds)
            rate = setting.batch / time_of_one
            line += [f"{1e3 * time_of_one:.3g}", f"{rate:,.0f}", f"{ratio:.2f}"]
        lines.append([*line, str(len(rounds))])
    return lines


def kind(event: torch.autograd.profiler_util.FunctionEvent) -> str:
    """Return what an event of the profiler does."""
    above = event
    while above is not None:
        if above.name.startswith("Optimizer."):
            return "optimizer"
        above = above.cpu_parent
    return next(kind for kind, pattern in KINDS.items() if re.search(pattern, event.name))


def shares(name: str, posterior: str, setting: Setting, steps: int = 20) -> str:
    """Return a table of what the wall time of a step goes into, and of the largest operators."""
    trainee = Trainee(name, posterior, setting)
    cuda = setting.device == "cuda"
    trainee.turn()
    plain = statistics.median(trainee.seconds(trainee.step) for _ in range(steps))
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as record:
        wall = sum(trainee.seconds(trainee.step) for _ in range(steps))
    kinds: Counter[str] = Counter()
    operators: Counter[tuple[str, str]] = Counter()
    calls: Counter[tuple[str, str]] = Counter()
    for event in record.events():
        if event.device_type != DeviceType.CPU:
            continue
        time_of_one = event.self_device_time_total if cuda else event.self_cpu_time_total
        what = kind(event)
        kinds[what] += time_of_one / 1e6
        operators[what, event.name] += time_of_one / 1e6
        calls[what, event.name] += 1
    kinds["idle" if cuda else "Python, the rest"] = wall - kinds.total()

    def line(label: str, seconds: float, count: str) -> list[str]:
        return [label, f"{100 * seconds / wall:.1f} %", f"{1e3 * seconds / steps:.3f}", count]

    rows = [line(what, seconds, "") for what, seconds in kinds.most_common()]
    largest = [
        line(f"{label} ({what})", seconds, f"{calls[what, label] / steps:.0f}")
        for (what, label), seconds in operators.most_common(25)
    ]
    return (
        f"{name}/{posterior}: {1e3 * plain:.3g} ms a step, {1e3 * wall / steps:.3g} ms with the "
        "profiler\n\n"
        + directions.table(["what", "share", "ms a step", ""], rows)
        + "\n\n"
        + directions.table(["operator", "share", "ms a step", "calls"], largest)
    )


def _some(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        for name in (names := text.split(",")):
            if name not in known:
                raise argparse.ArgumentTypeError(f"expected {', '.join(known)}, got {name!r}")
        return names

    return read


def _one(text: str) -> tuple[str, str]:
    model, _, posterior = text.partition("/")
    if model not in MODELS or posterior not in _posteriors(model, list(POSTERIORS)):
        raise argparse.ArgumentTypeError(f"expected MODEL/POSTERIOR, got {text!r}")
    return model, posterior


def _posteriors(model: str, wanted: list[str] | None) -> list[str]:
    """Return the posteriors to measure: where none are named, all with perceptrons, else a pair."""
    if wanted is None:
        return list(POSTERIORS if model == "mlp" else PAIR)
    known = POSTERIORS if model in CONTEXTS else PAIR
    return [posterior for posterior in wanted if posterior in known]


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=_some(tuple(MODELS)), default=list(MODELS))
    parser.add_argument(
        "--posteriors",
        type=_some(tuple(POSTERIORS)),
        help="posteriors to measure (default: a selection)",
    )
    parser.add_argument("--batch", type=int, default=64, help="images in a step (default: 64)")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adam")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true")
    parser.add_argument("--compile", action="store_true", help="compile the networks")
    parser.add_argument(
        "--threads", type=int, default=2, help="number of PyTorch threads (default: 2)"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--seconds", type=float, default=10, help="time for each model")
    parser.add_argument("--profile", type=_one, metavar="MODEL/POSTERIOR", help="only this")
    options = parser.parse_args(arguments)
    if options.clock == "processor" and (options.threads > 1 or options.device != "cpu"):
        parser.error("--clock processor: expected --threads 1 and --device cpu")
    return options


def main(arguments: list[str]) -> None:
    """Measure and print."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    setting = Setting(
        options.batch,
        options.optimizer,
        options.device,
        options.precision,
        options.compile,
        CLOCKS[options.clock],
    )
    cuda = setting.device == "cuda"
    machine = torch.cuda.get_device_name() if cuda else directions.processor()
    compiled = "compiled" if setting.compile else "not compiled"
    print(
        f"{machine}, {options.threads} threads, torch {torch.__version__}, batch {setting.batch}, "
        f"{setting.optimizer}, {setting.precision}, {compiled}, {options.clock} time\n"
    )
    if options.profile:
        print(shares(*options.profile, setting))
        return
    lines: list[list[str]] = []
    for name in options.models:
        print(f"measuring {name} ...", file=sys.stderr)
        posteriors = _posteriors(name, options.posteriors)
        lines += measure(name, posteriors, setting, options.seconds)
    header = ["model", "posterior", "thousand parameters"]
    header += ["step, ms", "images/s", "ratio", "forward, ms", "images/s", "ratio", "rounds"]
    print(directions.table(header, lines))


if __name__ == "__main__":
    main(sys.argv[1:])
