"""Posteriors of a VAE on MNIST at equal training time: the table in docs/vae.md.

    python benchmarks/mnist_posteriors.py measure [--data FILE.npz]
    python benchmarks/mnist_posteriors.py train --posterior iaf --seed 0 [--data FILE.npz]
    python benchmarks/mnist_posteriors.py score --posterior iaf --seed 0 --data FILE.npz
    python benchmarks/mnist_posteriors.py table [--runs benchmarks/results/mnist-posteriors]

`measure` trains all posteriors side by side for a while, and prints how many updates of each
`MINUTES` buy. `STEPS` holds such numbers, so that a run repeats to the last digit whatever else
the machine is doing. A run that was stopped resumes when it is started again. `score` scores a
finished run again, with the current code. `table` needs only settings and results.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import tempfile
from pathlib import Path

import torch

from invflow.training import metrics
from invflow.vae import evaluation, experiment, run
from invflow.vae.config import Config
from invflow.vae.data import load

MINUTES = 10
#: What ten minutes bought in a side-by-side run of 3,000 updates, on two threads. `measure` printed
#: 50,904, 37,617, 11,621 and 32,512 later: a tenth less, in the same proportions to 4 %.
STEPS = {"diagonal": 56_700, "planar": 43_200, "sylvester": 12_700, "iaf": 36_000}
KEYS = ("bound", "log_likelihood")


def config(data: str, posteriors: tuple[str, ...], steps: int, seed: int) -> Config:
    """Return the settings of a run: a tenth of the updates are warm-up."""
    return Config(
        data=data,
        likelihood="bernoulli",
        posteriors=posteriors,
        latents=32,
        hidden_features=(300, 300),
        context=128,
        flow_transforms=4,
        flow_hidden_features=(256,),
        optimizer="adam",
        learning_rate=2e-3,
        warmup=steps // 10,
        steps=steps,
        evaluate_every=max(1, min(1000, steps // 3)),
        importance_samples=128,
        seed=seed,
    )


def measure(data: str) -> None:
    """Print how long updates take, all posteriors side by side."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        settings = config(data, tuple(STEPS), 900, 0).model_copy(update={"importance_samples": 1})
        experiment.train(settings, directory)
        rows = [row for row in metrics.read(directory) if row["split"] == "train"]
    for name in STEPS:
        # The first third warms the machine up.
        first, *_, last = (row for row in rows if row["model"] == name)
        each = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
        print(f"{name}: {1e3 * each:.1f} ms, {60 * MINUTES / each:.0f} updates")


def score(data: str, directory: Path, name: str) -> None:
    """Score a finished run again, and save the new numbers."""
    finished = run.load(directory)
    images = load(data, "bernoulli").test
    found = evaluation.score(
        finished.models[name],
        images,
        samples=finished.config.importance_samples,
        seed=finished.config.seed,
    )
    new = dataclasses.replace(
        finished.results[name],
        bound=float(found.bound.mean()),
        log_likelihood=float(found.log_likelihood.mean()),
        kl=float(found.kl.mean()),
        active=found.active,
    )
    run.finish(directory, finished.models, {name: new})
    print(f"{directory}: bound {new.bound:.4f}, log p {new.log_likelihood:.4f}")


def table(runs: Path) -> None:
    """Print what the runs have reached, averaged over seeds, and how far the others are ahead."""
    first: list[dict[str, float]] = []
    ahead: list[str] = []
    print("| posterior | updates | bound | log p | KL | active latents | seeds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, steps in STEPS.items():
        paths = sorted(runs.glob(f"{name}-*/results.json"))
        found = [json.loads(path.read_text())["results"]["posteriors"][name] for path in paths]
        if not found:
            continue
        first = first or found
        ahead += [f"{name}: {', '.join(_ahead(key, found, first) for key in KEYS)}"]
        bound, likelihood = (
            f"{mean:.2f} ± {error:.2f}"
            for mean, error in (_mean_and_error([result[key] for result in found]) for key in KEYS)
        )
        kl = statistics.fmean(result["kl"] for result in found)
        active = statistics.fmean(result["active"] for result in found)
        cells = (name, steps, bound, likelihood, f"{kl:.1f}", f"{active:.1f}", len(found))
        print(f"| {' | '.join(map(str, cells))} |")
    print("\nAhead of the first:", *ahead[1:], sep="\n")


def _ahead(key: str, found: list[dict[str, float]], first: list[dict[str, float]]) -> str:
    (mean, error), (other, its) = (
        _mean_and_error([result[key] for result in results]) for results in (found, first)
    )
    return f"{key} {mean - other:+.2f} ± {math.hypot(error, its):.2f}"


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return statistics.fmean(values), spread / math.sqrt(len(values))


def main() -> None:
    """Measure, train or print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("measure", "train", "score", "table"))
    parser.add_argument("--data", default="mnist", help="mnist, or a file with its images")
    parser.add_argument("--posterior", choices=tuple(STEPS), default="iaf")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/mnist-posteriors"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.what == "measure":
        measure(options.data)
    elif options.what == "train":
        name = options.posterior
        settings = config(options.data, (name,), STEPS[name], options.seed)
        experiment.train(settings, options.runs / f"{name}-{options.seed}")
    elif options.what == "score":
        name = options.posterior
        score(options.data, options.runs / f"{name}-{options.seed}", name)
    else:
        table(options.runs)


if __name__ == "__main__":
    main()
