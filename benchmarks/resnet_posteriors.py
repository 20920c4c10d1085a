"""Posteriors of a ResNet VAE on patches of photographs: "Which posterior" in docs/how-to/vae.md.

    python benchmarks/resnet_posteriors.py patches --photographs FILE.npz --data patches.npz
    python benchmarks/resnet_posteriors.py train --seed 0 --data patches.npz
    python benchmarks/resnet_posteriors.py table [--runs benchmarks/results/resnet-posteriors]

`patches` cuts them from grey photographs, arrays `train` and `test` (count, height, width) of
grey levels. `train` trains the four posteriors of `POSTERIORS` side by side, on the same batches,
and resumes if it was stopped. `table` needs only settings and results.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from invflow.images.pixels import bits_per_dim
from invflow.vae import experiment
from invflow.vae.config import Config

POSTERIORS = ("bottom-up-diagonal", "diagonal", "linear-iaf", "iaf")
SIZE = 16


def patches(photographs: Path, data: Path) -> None:
    """Write patches of photographs."""
    random = np.random.default_rng(0)
    with np.load(photographs) as file:
        train, test = cut(file["train"], 60_000, random), cut(file["test"], 2000, random)
    np.savez_compressed(data, train_images=train, test_images=test)


def cut(images: NDArray[np.uint8], count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return patches from random places of random images."""
    rows, columns = (random.integers(n - SIZE + 1, size=count) for n in images.shape[1:])
    which = random.integers(len(images), size=count)
    places = zip(which, rows, columns, strict=True)
    return np.stack([images[i, y : y + SIZE, x : x + SIZE] for i, y, x in places])


def config(data: str, seed: int, steps: int) -> Config:
    """Return the settings of a run."""
    return Config(
        data=data,
        likelihood="shared-logistic",
        posteriors=POSTERIORS,
        network="resnet-vae",
        depths=(3,),
        feature_maps=32,
        latent_maps=8,
        free_bits=0.1,
        optimizer="adamax",
        learning_rate=2e-3,
        schedule="constant",
        averaging_decay=0.998,
        batch_size=64,
        steps=steps,
        evaluate_every=min(500, steps),
        importance_samples=16,
        seed=seed,
    )


def table(runs: Path) -> None:
    """Print what the runs have reached, averaged over seeds."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for path in sorted(runs.glob("seed-*/results.json")):
        seed = json.loads((path.parent / "config.json").read_text())["config"]["settings"]["seed"]
        found.setdefault(seed, {}).update(json.loads(path.read_text())["results"]["posteriors"])
    pixels = SIZE**2
    print("| posterior | bound, bits/dim | -log p, bits/dim | against the first |")
    print("| --- | --- | --- | --- |")
    for name in POSTERIORS:
        bound, likelihood, first = (
            [bits_per_dim(results[who][key], pixels) for results in found.values()]
            for who, key in (
                (name, "bound"),
                (name, "log_likelihood"),
                (POSTERIORS[0], "log_likelihood"),
            )
        )
        difference = [one - other for one, other in zip(likelihood, first, strict=True)]
        cells = [_mean_and_error(values, 3) for values in (bound, likelihood, difference)]
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\n{len(found)} seeds")


def _mean_and_error(values: list[float], digits: int) -> str:
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.fmean(values):.{digits}f} ± {error:.{digits}f}"


def main() -> None:
    """Cut, train or print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("patches", "train", "table"))
    parser.add_argument("--photographs", type=Path, default=Path("bsds300_gray.npz"))
    parser.add_argument("--data", type=Path, default=Path("patches.npz"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--runs", type=Path, default=Path("runs/resnet-posteriors"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "patches":
        patches(options.photographs, options.data)
    elif options.what == "train":
        settings = config(str(options.data), options.seed, options.steps)
        experiment.train(settings, options.runs / f"seed-{options.seed}")
    else:
        table(options.runs)


if __name__ == "__main__":
    main()
