"""Validation bound of a VAE after some hundred updates, with other initial weights.

Each line is a model as `VAE` builds it, with one thing changed before training:

- as built: nothing;
- small location: the context's weights in the posterior's means, by 1/100;
- all alive: the context's weights in all other amortised parameters, by 100, so that each of them
  depends on the context as much as the means do;
- linear layers: encoder and decoder start as PyTorch's `nn.Linear` does;
- linear decoder: the decoder's hidden layers do, and its last layer as built;
- former: "small location" and "linear layers", which is how earlier versions started;
- large outputs: the decoder's outputs, by 10;
- open gate: gates of the flow start at 3 instead of 1.5;
- conditioners: the outputs of the flow's networks, by 10.

Adam, batches of 128, no warm-up; 784 or 560 pixels have hidden layers of 300, others of 256. The
bound is an average over four draws for each of at most 2,000 validation images, after `--every`
updates and at the best of its multiples.

    python benchmarks/starts.py [--data digits photographs mnist.npz freyfaces.npz]
        [--posteriors iaf] [--starts "as built" ...] [--seeds 0 1 2] [--updates 600] [--every 600]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import torch
from directions import table
from torch import Tensor, nn

from invflow.conditioners import MADE
from invflow.images.data import Images, load
from invflow.transforms import Elementwise
from invflow.transforms.parameters import SMALL, Parameters
from invflow.univariate import Gated
from invflow.vae import VAE

BATCH, DRAWS, IMAGES = 128, 4, 2000


def _locations(vae: VAE) -> list[Tensor]:
    maps = [each for each in vae.posterior.modules() if isinstance(each, Elementwise)]
    return [
        each.given.weight.view(each.features, -1, each.context)[:, 0]
        for each in maps
        if each.given.weight is not None
    ]


def as_built(vae: VAE) -> None:
    """Change nothing."""


def small_location(vae: VAE) -> None:
    """Scale the weights in the means by 1/100."""
    for weight in _locations(vae):
        weight.mul_(SMALL)


def all_alive(vae: VAE) -> None:
    """Scale the weights in all amortised parameters but the means by 100."""
    for each in vae.posterior.modules():
        if isinstance(each, Parameters) and each.weight is not None:
            each.weight.div_(SMALL)
    small_location(vae)


def linear_layers(vae: VAE) -> None:
    """Let encoder and decoder start as PyTorch's layers do."""
    for network in (vae.encoder, vae.decoder):
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()


def linear_decoder(vae: VAE) -> None:
    """Let the decoder's hidden layers start as PyTorch's do."""
    hidden = [layer for layer in vae.decoder.modules() if isinstance(layer, nn.Linear)][:-1]
    for layer in hidden:
        layer.reset_parameters()


def former(vae: VAE) -> None:
    """Start as earlier versions did."""
    small_location(vae)
    linear_layers(vae)


def large_outputs(vae: VAE) -> None:
    """Scale the decoder's outputs by 10."""
    last = [layer for layer in vae.decoder.modules() if isinstance(layer, nn.Linear)][-1]
    last.weight.mul_(10)


def open_gate(vae: VAE) -> None:
    """Let gates start at 3."""
    gated = [each for each in vae.posterior.modules() if hasattr(each, "univariate")]
    for each in gated:
        if isinstance(each.univariate, Gated):
            each.conditioner.biases[-1].view(-1, 2)[:, 1] = 3.0


def conditioners(vae: VAE) -> None:
    """Scale the outputs of the flow's networks by 10."""
    for each in vae.posterior.modules():
        if isinstance(each, MADE):
            blocks = zip(each.layout.blocks, each.weights, strict=True)
            for (layer, _), weight in blocks:
                if layer == len(each.layout.hidden) + 1:
                    weight.mul_(10)


STARTS: dict[str, Callable[[VAE], None]] = {
    "as built": as_built,
    "small location": small_location,
    "all alive": all_alive,
    "linear layers": linear_layers,
    "linear decoder": linear_decoder,
    "former": former,
    "large outputs": large_outputs,
    "open gate": open_gate,
    "conditioners": conditioners,
}


def bounds(
    images: Images, posterior: str, start: str, seed: int, updates: int, every: int
) -> list[float]:
    """Return the validation bound in nats per image after each `every` updates."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    wide = 300 if images.train[0].numel() > 500 else 256
    likelihood = "bernoulli" if images.binary else "logistic"
    vae = VAE(images.shape, images.levels, likelihood, posterior, hidden_features=(wide, wide))
    with torch.no_grad():
        STARTS[start](vae)
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3, fused=True)
    found: list[float] = []
    for update in range(1, updates + 1):
        rows = torch.randint(len(images.train), (BATCH,), generator=generator)
        x = vae.observe(images.train[rows], generator)
        optimizer.zero_grad()
        (-vae.elbo(x, generator).bound.mean()).backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 50.0)
        optimizer.step()
        if update % every == 0:
            found.append(validation(vae, images))
    return found


def validation(vae: VAE, images: Images) -> float:
    """Return the bound in nats per validation image, with the same noise at each call."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        x = vae.observe(images.validation[:IMAGES], generator)
        each = [vae.elbo(x, generator).bound.mean() for _ in range(DRAWS)]
    return float(torch.stack(each).mean())


def estimate(values: list[float]) -> str:
    """Return the mean of the seeds and its standard error."""
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.fmean(values):.2f} ± {spread / len(values) ** 0.5:.2f}"


def main(arguments: list[str]) -> None:
    """Train everything, and print a table for each data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", nargs="+", default=["digits", "photographs"])
    parser.add_argument("--posteriors", nargs="+", default=["iaf"])
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--every", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    for data in options.data:
        images = load(data)
        lines: list[list[str]] = []
        for start in options.starts:
            for posterior in options.posteriors:
                found = [
                    bounds(images, posterior, start, seed, options.updates, options.every)
                    for seed in options.seeds
                ]
                first, best = [each[0] for each in found], [max(each) for each in found]
                lines.append([start, posterior, estimate(first), estimate(best)])
                print(data, *lines[-1], file=sys.stderr, flush=True)
        print(f"\n{data}\n")
        heads = ["start", "posterior", f"after {options.every}", f"best of {options.updates}"]
        print(table(heads, lines), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
