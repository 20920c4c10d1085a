"""Images per second of a VAE's training step, compared with the same network in PyTorch and zuko.

Black and white images of noise, 28 x 28; an encoder 784-256-256-64 and its mirror image, with ELUs;
32 latents; float32. The posterior is a normal whose means and scales are linear in the encoder's
output, and 4 autoregressive steps that see it, with one hidden layer of 128 ELUs:

- invflow: `VAE`, with its posterior "iaf", whose steps are gated;
- zuko: the networks written out in PyTorch, and the posterior of zuko's affine masked
  autoregressive transforms, turned round, so that a draw takes one pass.

A step clears the gradients, takes the bound of a batch from one draw of the latents, its backward
pass, and an update of Adam. The two alternate; times are medians, "ratio" is the median over the
turns of the ratio to invflow.

    python benchmarks/vae_peers.py [--quick] [--batch 128] [--threads N]

pip install zuko; without it invflow is measured alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXELS, WIDTHS, CONTEXT, LATENTS, STEPS, HIDDEN = 784, (256, 256), 64, 32, 4, (128,)
#: Takes images, (batch, pixels), and returns the loss.
Loss = Callable[[Tensor], Tensor]


def _invflow() -> tuple[nn.Module, Loss]:
    from invflow.vae import VAE, Objective

    shape, sizes = (1, 28, 28), (WIDTHS, CONTEXT, STEPS, HIDDEN)
    vae = VAE(shape, 2, "bernoulli", "iaf", "normal", "mlp", LATENTS, *sizes)
    return vae, lambda x: Objective().loss(vae, x, 1, None)


def _zuko() -> tuple[nn.Module, Loss]:
    from zuko.flows import ElementWiseTransform, MaskedAutoregressiveTransform
    from zuko.lazy import LazyComposedTransform

    a, b = WIDTHS
    encoder = nn.Sequential(
        nn.Linear(PIXELS, a), nn.ELU(), nn.Linear(a, b), nn.ELU(), nn.Linear(b, CONTEXT)
    )
    decoder = nn.Sequential(
        nn.Linear(LATENTS, b), nn.ELU(), nn.Linear(b, a), nn.ELU(), nn.Linear(a, PIXELS)
    )
    orders = torch.arange(LATENTS), torch.arange(LATENTS).flip(0)
    posterior = LazyComposedTransform(
        ElementWiseTransform(LATENTS, CONTEXT, hidden_features=()),
        *(
            MaskedAutoregressiveTransform(
                LATENTS,
                CONTEXT,
                order=orders[i % 2],
                hidden_features=HIDDEN,
                activation=nn.ELU,
            )
            for i in range(STEPS)
        ),
    )
    normal = torch.distributions.Normal(0.0, 1.0)

    def loss(x: Tensor) -> Tensor:
        noise = torch.randn(len(x), LATENTS)
        z, ladj = posterior(encoder(2 * x - 1)).call_and_ladj(noise)
        log_q = normal.log_prob(noise).sum(-1) - ladj
        kl = log_q - normal.log_prob(z).sum(-1)
        misfit = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="none").sum(-1)
        return (misfit + kl).mean()

    return nn.ModuleList([encoder, posterior, decoder]), loss


LIBRARIES: dict[str, Callable[[], tuple[nn.Module, Loss]]] = {"invflow": _invflow, "zuko": _zuko}


class Trainee:
    """A library's model, an optimizer, and a batch of noise."""

    def __init__(self, library: str, batch: int) -> None:
        torch.manual_seed(0)
        self.module, self.loss = LIBRARIES[library]()
        self.x = torch.randint(2, (batch, PIXELS)).float()
        self.optimizer = torch.optim.Adam(self.module.parameters(), 1e-4, fused=True)

    def step(self) -> None:
        """Make an update."""
        self.optimizer.zero_grad()
        self.loss(self.x).backward()
        self.optimizer.step()

    @property
    def parameters(self) -> int:
        """How many there are, without the weights that masks hide."""
        masks = [mask for name, mask in self.module.named_buffers() if "mask" in name]
        hidden = sum(mask.numel() - int(mask.count_nonzero()) for mask in masks)
        return sum(parameter.numel() for parameter in self.module.parameters()) - hidden


def measure(libraries: list[str], batch: int, seconds: float) -> list[list[str]]:
    """Return the lines of the table."""
    trainees = {library: Trainee(library, batch) for library in libraries}

    def turn(trainee: Trainee) -> float:
        started = time.perf_counter()
        trainee.step()
        return time.perf_counter() - started

    for trainee in trainees.values():
        turn(trainee), turn(trainee)
    rounds: list[dict[str, float]] = []
    begin = time.perf_counter()
    while len(rounds) < 3 or time.perf_counter() - begin < seconds:
        rounds.append({name: turn(trainee) for name, trainee in trainees.items()})
    lines: list[list[str]] = []
    for name, trainee in trainees.items():
        took = statistics.median(times[name] for times in rounds)
        ratio = statistics.median(times[name] / times["invflow"] for times in rounds)
        numbers = [f"{trainee.parameters:,}", f"{1e3 * took:.3g}", f"{batch / took:,.0f}"]
        lines.append([name, *numbers, f"{ratio:.2f}", str(len(rounds))])
    return lines


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="three seconds instead of thirty")
    parser.add_argument("--batch", type=int, default=128, help="images in a step (default: 128)")
    parser.add_argument(
        "--threads", type=int, default=2, help="number of PyTorch threads (default: 2)"
    )
    options = parser.parse_args(arguments)

    from directions import environment, table, version  # imports invflow: not in zuko's process

    torch.set_num_threads(options.threads)
    about = environment(options.threads)
    print(", ".join(f"{key} {value}" for key, value in about.items()) + "\n")
    there = [library for library in LIBRARIES if version(library)]
    lines = measure(there, options.batch, 3.0 if options.quick else 30.0)
    print(table(["library", "parameters", "step, ms", "images/s", "ratio", "rounds"], lines))


if __name__ == "__main__":
    main(sys.argv[1:])
