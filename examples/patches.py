"""Learns handwritten digits patch by patch with a TarFlow, and draws any digit that one asks for.

Samples are drawn with more and more guidance towards their class, with the noise of training taken
out. A support vector machine, trained on the images themselves, says which digits they are.

    python examples/patches.py [--steps 800] [--out patches.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from sklearn.svm import SVC

from invflow.flows import TarFlow
from invflow.images import ImageDensity, data, noisy

EACH = 50
GUIDANCE = (0.0, 1.0, 2.0)
NOISE = 0.1
IMAGES = data.load("digits", labelled=True)


def fit(steps: int) -> ImageDensity:
    """Train a flow on noisy digits given their class, which is hidden from one image in ten."""
    torch.manual_seed(0)
    flow = TarFlow(IMAGES.shape, 2, transforms=4, classes=len(IMAGES.classes))
    model = ImageDensity(flow, IMAGES.levels, IMAGES.shape, alpha=None)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = torch.randint(len(IMAGES.train), (128,))
        labels = IMAGES.labels["train"][rows]
        labels = torch.where(torch.rand(len(rows)) < 0.1, -1, labels)
        context = flow.labelled(labels)
        loss = -noisy(model, IMAGES.train[rows], NOISE, context=context).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 50.0)
        optimizer.step()
        schedule.step()
    return model


def main() -> None:
    """Train; print a table and draw samples of each class."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=800, help="updates")
    parser.add_argument("--out", type=Path, default=Path("patches.png"), help="the picture")
    options = parser.parse_args()
    recognise = SVC().fit(IMAGES.train.flatten(1).numpy(), IMAGES.labels["train"].numpy())
    model, classes = fit(options.steps), len(IMAGES.classes)
    asked = torch.arange(classes).repeat_interleave(EACH)
    context = F.one_hot(asked, classes).float()
    figure = Figure(figsize=(4 * len(GUIDANCE), 4.4))
    axes = figure.subplots(1, len(GUIDANCE))
    print("| guidance | samples recognised |")
    print("| --- | --- |")
    for axis, weight in zip(axes, GUIDANCE, strict=True):
        samples = model.sample(len(asked), context=context, noise=NOISE, guidance=weight)
        recognised = recognise.score(samples.flatten(1).numpy(), asked.numpy())
        print(f"| {weight:g} | {recognised:.1%} |", flush=True)
        shown = F.pad(samples.reshape(classes, EACH, 8, 8)[:, :10], (1, 1, 1, 1))
        axis.imshow(shown.movedim(1, 2).reshape(classes * 10, 100).numpy(), cmap="gray_r")
        axis.set_title(f"guidance {weight:g}: a row for each digit", fontsize=9)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(options.out, dpi=110)
    print(f"\n{EACH} samples of each digit. Picture: {options.out}")


if __name__ == "__main__":
    main()
