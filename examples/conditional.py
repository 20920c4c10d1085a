"""Learns handwritten digits given which digit each is, and draws any digit that one asks for.

A support vector machine, trained on the images themselves, says which digits the samples are. The
model is a classifier too: it says under which digit an image is most likely.

    python examples/conditional.py [--steps 800] [--out conditional.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn.svm import SVC
from torch import Tensor

from invflow.images import data
from invflow.vae import PRIORS, VAE, Objective

EACH = 100
IMAGES = data.load("digits", labelled=True)


def fit(prior: str, steps: int) -> VAE:
    """Train a VAE on digits given their class."""
    torch.manual_seed(0)
    classes = len(IMAGES.classes)
    vae = VAE(IMAGES.shape, IMAGES.levels, prior=prior, latents=8, given=classes)
    objective = Objective(warmup=steps // 3)
    optimizer = torch.optim.Adam(vae.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        rows = torch.randint(len(IMAGES.train), (128,))
        x = vae.observe(IMAGES.train[rows])
        given = vae.one_hot(IMAGES.labels["train"][rows])
        loss = objective.loss(vae, x, step, given=given)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 50.0)
        optimizer.step()
        schedule.step()
    return vae


def likelihoods(vae: VAE, samples: int = 50) -> Tensor:
    """Return log p(x|c) of the test images given each class, (classes, images)."""
    x, classes = vae.observe(IMAGES.test), vae.one_hot(torch.arange(vae.given))
    return torch.stack([vae.log_likelihood(x, samples, given=c) for c in classes])


def main() -> None:
    """Train with each prior; print a table and draw samples of each class."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=800, help="updates per model")
    parser.add_argument("--out", type=Path, default=Path("conditional.png"), help="the picture")
    options = parser.parse_args()
    recognise = SVC().fit(IMAGES.train.flatten(1).numpy(), IMAGES.labels["train"].numpy())
    truth = IMAGES.labels["test"]
    accuracy = recognise.score(IMAGES.test.flatten(1).numpy(), truth.numpy())
    figure = Figure(figsize=(4 * len(PRIORS), 4.4))
    axes = figure.subplots(1, len(PRIORS))
    print("| prior | samples recognised | test images classified | log p(x given its class) |")
    print("| --- | --- | --- | --- |")
    for axis, prior in zip(axes, PRIORS, strict=True):
        vae = fit(prior, options.steps)
        asked = torch.arange(vae.given).repeat_interleave(EACH)
        samples = vae.sample(len(asked), given=vae.one_hot(asked))
        recognised = recognise.score(samples.numpy(), asked.numpy())
        scores = likelihoods(vae)
        classified = float((scores.argmax(0) == truth).float().mean())
        own = float(scores.gather(0, truth[None]).mean())
        print(f"| {prior} | {recognised:.1%} | {classified:.1%} | {own:.2f} |", flush=True)
        shown = F.pad(samples.reshape(vae.given, EACH, 8, 8)[:, :10], (1, 1, 1, 1))
        axis.imshow(shown.movedim(1, 2).reshape(vae.given * 10, 100).numpy(), cmap="gray_r")
        axis.set_title(f"{prior}: a row for each digit", fontsize=9)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)
    print(
        f"\n{EACH} samples of each of {len(IMAGES.classes)} digits, {len(truth)} test images, of "
        f"which the support vector machine recognises {accuracy:.1%}. Picture: {options.out}"
    )


if __name__ == "__main__":
    main()
