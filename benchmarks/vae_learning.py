"""Test bound and log-likelihood of a VAE on MNIST against training time, with three libraries.

The same VAE each time: dynamically binarised MNIST (`mnist.npz` of Keras, or another file with the
same names), an encoder 784-300-300-128 and its mirror image with ELUs, 32 latents, and a posterior
of a Gaussian, linear in the encoder's output, and 4 autoregressive transforms with one hidden layer
of 256 units. Adam, batches of 128, no warm-up; the learning rate falls by a cosine to zero at the
end of the time.

- invflow: `VAE` with its posterior "iaf";
- zuko: the networks written out in PyTorch, zuko's affine masked autoregressive transforms with
  the encoder's output as their context, turned round, so that a draw takes one pass;
- pythae: its `VAE_IAF`, with these networks; its flow does not see the encoder's output.

The libraries take turns of two seconds, so that what else the machine does slows all of them alike.
Only training counts as time. After each tenth of it, the first 2,000 test images are scored with 64
draws each, at the end all test images with 128: the bound is the mean of log w, the
log-likelihood log mean w, with w = p(x, z) / q(z|x).

    python benchmarks/vae_learning.py run --data mnist.npz --seed 0 [--minutes 10]
    python benchmarks/vae_learning.py table

`run` adds lines to `benchmarks/results/vae-learning.csv`, `table` prints their means over seeds.
pip install zuko pythae; libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invflow.images.data import load
from invflow.vae import VAE

PIXELS, WIDTHS, CONTEXT, LATENTS, TRANSFORMS, HIDDEN = 784, (300, 300), 128, 32, 4, 256
BATCH, RATE, TURN, TENTHS = 128, 1e-3, 2.0, 10
LINES = Path(__file__).parent / "results" / "vae-learning.csv"
COLUMNS = ["library", "seed", "minutes", "tenth", "step", "bound", "log_likelihood"]
#: Takes observations, (batch, pixels), and the number of draws; returns log w, (draws, batch).
LogWeights = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Model:
    """What the benchmark needs of a library's VAE.

    Attributes:
        module: with all parameters.
        loss: of observations, (batch, pixels), to be minimised.
        log_weights: of draws for observations.
    """

    module: nn.Module
    loss: Callable[[Tensor], Tensor]
    log_weights: LogWeights


def _invflow() -> Model:
    shape, sizes = (1, 28, 28), (WIDTHS, CONTEXT, TRANSFORMS, (HIDDEN,))
    vae = VAE(shape, 256, "bernoulli", "iaf", "normal", "mlp", LATENTS, *sizes)
    return Model(vae, lambda x: -vae.elbo(x).bound.mean(), lambda x, s: vae.draw(x, s)[1])


def _networks() -> tuple[nn.Sequential, nn.Sequential]:
    a, b = WIDTHS
    encoder = nn.Sequential(
        nn.Linear(PIXELS, a), nn.ELU(), nn.Linear(a, b), nn.ELU(), nn.Linear(b, CONTEXT)
    )
    decoder = nn.Sequential(
        nn.Linear(LATENTS, b), nn.ELU(), nn.Linear(b, a), nn.ELU(), nn.Linear(a, PIXELS)
    )
    return encoder, decoder


def _log_normal(z: Tensor) -> Tensor:
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


def _zuko() -> Model:
    from zuko.flows import ElementWiseTransform, MaskedAutoregressiveTransform
    from zuko.lazy import LazyComposedTransform

    encoder, decoder = _networks()
    orders = torch.arange(LATENTS), torch.arange(LATENTS).flip(0)
    posterior = LazyComposedTransform(
        ElementWiseTransform(LATENTS, CONTEXT, hidden_features=()),
        *(
            MaskedAutoregressiveTransform(
                LATENTS,
                CONTEXT,
                order=orders[i % 2],
                hidden_features=(HIDDEN,),
                activation=nn.ELU,
            )
            for i in range(TRANSFORMS)
        ),
    )

    def log_weights(x: Tensor, samples: int) -> Tensor:
        noise = torch.randn(samples, len(x), LATENTS)
        z, ladj = posterior(encoder(2 * x - 1)).call_and_ladj(noise)
        logits, pixels = decoder(z), x.expand(samples, -1, -1)
        misfit = F.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(-1)
        return -misfit + _log_normal(z) - _log_normal(noise) + ladj

    modules = nn.ModuleList([encoder, posterior, decoder])
    return Model(modules, lambda x: -log_weights(x, 1).mean(), log_weights)


def _pythae() -> Model:
    from pythae.models import VAE_IAF, VAE_IAF_Config
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    first, last = _networks()

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = first
            self.mean, self.log_variance = nn.Linear(CONTEXT, LATENTS), nn.Linear(CONTEXT, LATENTS)

        def forward(self, x: Tensor) -> Any:
            context = self.network(2 * x - 1)
            return ModelOutput(
                embedding=self.mean(context), log_covariance=self.log_variance(context)
            )

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = last

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.network(z).sigmoid())

    settings = VAE_IAF_Config(
        input_dim=(PIXELS,),
        latent_dim=LATENTS,
        reconstruction_loss="bce",
        n_made_blocks=TRANSFORMS,
        n_hidden_in_made=1,
        hidden_size=HIDDEN,
    )
    vae = VAE_IAF(settings, Encoder(), Decoder())

    def log_weights(x: Tensor, samples: int) -> Tensor:
        given = vae.encoder(x)
        scale = torch.exp(0.5 * given.log_covariance)
        noise = torch.randn(samples, len(x), LATENTS)
        flow = vae.iaf_flow.inverse((given.embedding + scale * noise).flatten(0, 1))
        ladj = flow.log_abs_det_jac.view(samples, -1) + scale.log().sum(-1)
        pixels = vae.decoder(flow.out).reconstruction.view(samples, -1, PIXELS)
        fit = -F.binary_cross_entropy(pixels, x.expand_as(pixels), reduction="none").sum(-1)
        z = flow.out.view(samples, -1, LATENTS)
        return fit + _log_normal(z) - _log_normal(noise) + ladj

    return Model(vae, lambda x: vae({"data": x}).loss, log_weights)


LIBRARIES: dict[str, Callable[[], Model]] = {"invflow": _invflow, "zuko": _zuko, "pythae": _pythae}


class Trainee:
    """A library's model on its way, with an own stream of images."""

    def __init__(self, library: str, levels: Tensor, seed: int, seconds: float) -> None:
        torch.manual_seed(seed)
        self.model = LIBRARIES[library]()
        self.optimizer = torch.optim.Adam(self.model.module.parameters(), RATE, fused=True)
        self.levels, self.seconds = levels, seconds
        self.generator = torch.Generator().manual_seed(seed)
        self.spent, self.step = 0.0, 0

    def train(self, seconds: float) -> None:
        """Train until a training time is reached."""
        started = time.perf_counter() - self.spent
        while self.spent < seconds:
            rows = torch.randint(len(self.levels), (BATCH,), generator=self.generator)
            x = torch.bernoulli(self.levels[rows] / 255, generator=self.generator)
            for group in self.optimizer.param_groups:
                group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * self.spent / self.seconds))
            self.optimizer.zero_grad()
            self.model.loss(x).backward()
            self.optimizer.step()
            self.step += 1
            self.spent = time.perf_counter() - started

    @torch.no_grad()
    def score(self, x: Tensor, samples: int) -> tuple[float, float]:
        """Return the mean bound and log-likelihood of observations, in nats."""
        generator = torch.random.get_rng_state()
        torch.manual_seed(0)
        weights = torch.cat([self.model.log_weights(part, samples) for part in x.split(20)], 1)
        torch.random.set_rng_state(generator)
        likelihood = weights.logsumexp(0) - math.log(samples)
        return float(weights.mean()), float(likelihood.mean())


def run(data: str, seed: int, minutes: float, lines: Path) -> None:
    """Train all libraries that are installed, and add their lines."""
    images = load(data)
    levels = images.train.flatten(1).float()
    noise = torch.Generator().manual_seed(0)
    test = torch.bernoulli(images.test.flatten(1).float() / 255, generator=noise)
    names = [name for name in LIBRARIES if find_spec(name)]
    trainees = {name: Trainee(name, levels, seed, 60 * minutes) for name in names}
    for tenth in range(1, TENTHS + 1):
        end = 60 * minutes * tenth / TENTHS
        reached = 60 * minutes * (tenth - 1) / TENTHS
        while reached < end:
            reached = min(reached + TURN, end)
            for trainee in trainees.values():
                trainee.train(reached)
        last = tenth == TENTHS
        for name, trainee in trainees.items():
            scores = trainee.score(test, 128) if last else trainee.score(test[:2000], 64)
            cells = [name, seed, minutes, tenth, trainee.step, *(f"{each:.3f}" for each in scores)]
            print(*cells, flush=True)
            _append(lines, cells)


def _append(lines: Path, cells: list[Any]) -> None:
    fresh = not lines.exists()
    with lines.open("a", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, cells] if fresh else [cells])


def table(lines: Path) -> None:
    """Print the means over seeds, ± standard errors over seeds."""
    with lines.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["library"] for row in rows))
    print(f"| time | {' | '.join(f'{name}: bound, log p(x)' for name in names)} |")
    print(f"| --- | {' | '.join('---' for _ in names)} |")
    for tenth in range(1, TENTHS + 1):
        cells: list[str] = []
        for name in names:
            here = [row for row in rows if row["library"] == name and int(row["tenth"]) == tenth]
            found = [[float(row[key]) for row in here] for key in ("bound", "log_likelihood")]
            cells.append(", ".join(map(_mean, found)))
        minutes = float(rows[0]["minutes"]) * tenth / TENTHS
        print(f"| {minutes:g} min | {' | '.join(cells)} |")
    steps = {
        name: [int(row["step"]) for row in rows if row["library"] == name and row["tenth"] == "10"]
        for name in names
    }
    print(
        "\nUpdates:", ", ".join(f"{name} {statistics.fmean(s):,.0f}" for name, s in steps.items())
    )


def _mean(values: list[float]) -> str:
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.fmean(values):.2f} ± {error:.2f}"


def main(arguments: list[str]) -> None:
    """Run, or print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--data", default="mnist", help="mnist, or a file with its images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lines", type=Path, default=LINES)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.what == "run":
        run(options.data, options.seed, options.minutes, options.lines)
    else:
        table(options.lines)


if __name__ == "__main__":
    main(sys.argv[1:])
