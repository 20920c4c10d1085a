"""What is damaged: small models, runs and data, and the ways in which they are read.

Everything that depends on the options of the command line, or on where a run is, is here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import invflow
from invflow import cli
from invflow.density import FlowDensity
from invflow.density import run as density_run
from invflow.density.table import read as read_table
from invflow.distillation import run as student_run
from invflow.images import data as images
from invflow.training import metrics
from invflow.vae import run as vae_run
from invflow.vi import Flat, Posterior, fit
from invflow.vi import run as posterior_run

Command = tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A directory with files.

    Attributes:
        make: fills it.
        load: reads them, and uses what they hold.
        files: patterns of the files that are damaged.
        commands: that read them, and write `out.*` in the current directory.
        resume: the command that has made a run.
        trains: whether `load` trains where there is nothing to read.
    """

    make: Callable[[Path], None]
    load: Callable[[Path], Any]
    files: Sequence[str]
    commands: Sequence[Command] = ()
    resume: Command | None = None
    trains: bool = False


def run(arguments: Sequence[str]) -> int | str:
    """Run a command of `invflow`; return its exit status, or what it says of an error."""
    sys.argv = ["invflow", *arguments]
    try:
        cli.main()
    except SystemExit as exit:
        return exit.code or 0
    return 0


def _table(path: Path, more: bool = False) -> None:
    """Write a table; with a column that a density of the others does not know."""
    import pandas as pd

    source = np.random.default_rng(0)
    frame = pd.DataFrame({"a": source.normal(size=60), "b": source.integers(0, 9, 60)})
    if more:
        frame["name"] = np.where(frame["a"] > 0, "x", "y")
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path)
        case _:
            np.savez(path, **{name: frame[name].to_numpy() for name in ("a", "b")})


def _pictures(path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (30, 4, 4), dtype=np.uint8)
    if path.suffix == ".npz":
        np.savez(path, train_images=levels[:20], test_images=levels[20:])
        return
    from PIL import Image

    for part, some in (("train", levels[:8]), ("test", levels[20:24])):
        (path / part).mkdir(parents=True)
        for i, image in enumerate(some):
            Image.fromarray(image).save(path / part / f"{i}.png")


VAE: Command = (
    *("vae", "images.npz", "--name", "run", "--posteriors", "iaf", "--latents", "2"),
    *("--hidden-features", "4", "--context", "2"),
    *("--flow-transforms", "1", "--flow-hidden-features", "4"),
    *("--steps", "4", "--evaluate-every", "2", "--batch-size", "8", "--importance-samples", "2"),
)
DENSITY: Command = (
    *("density", "table.csv", "--name", "run", "--flow", "maf", "--transforms", "1"),
    *("--hidden-features", "4", "--steps", "4", "--batch-size", "16"),
)
STUDENT: Command = (
    *("distill", "runs/run", "--name", "student", "--flow", "iaf", "--transforms", "1"),
    *("--hidden-features", "4", "--steps", "4", "--batch-size", "16"),
    *("--evaluation-draws", "100"),
)
POSTERIOR: Command = (
    "posterior",
    "model.py",
    "--data",
    "data.json",
    "--name",
    "run",
    "--draws",
    "100",
)
MODEL = """
from invflow.vi import Flat

def target(scale):
    return Flat(lambda z: -0.5 * (z[:, 0] ** 2 + (z[:, 1] - z[:, 0] ** 2 / scale) ** 2), dim=2)
"""


def _made(*commands: Command) -> None:
    for command in commands:
        said = run(command)
        if said:
            raise RuntimeError(f"{' '.join(command)}: {said}")


def _make_flow(root: Path) -> None:
    invflow.IAF(3, transforms=2, hidden_features=(4,), order="random").save_pretrained(
        root / "flow"
    )


def _use_flow(root: Path) -> None:
    flow = invflow.Flow.from_pretrained(root / "flow")
    flow().log_prob(flow().sample((3,)))


def _make_estimator(root: Path) -> None:
    _table(root / "table.csv")
    rows = read_table(root / "table.csv").block(0)
    density = FlowDensity("maf", transforms=1, hidden_features=(4,), steps=2, random_state=0)
    density.fit(rows).save(root / "model")
    (root / "table.csv").unlink()


def _use_estimator(root: Path) -> None:
    density = FlowDensity.load(root / "model")
    density.score_samples(density.sample(3, random_state=0))


def _target() -> Flat:
    return Flat(lambda z: -0.5 * (z[:, 0] ** 2 + (z[:, 1] - z[:, 0] ** 2 / 9) ** 2), dim=2)


def _make_posterior(root: Path) -> None:
    _resume_posterior(root).save(root / "model")


def _use_posterior(root: Path) -> None:
    str(Posterior.load(root / "model", _target()).diagnose())


def _resume_posterior(root: Path) -> Posterior:
    return fit(_target(), starting_points=torch.zeros(1, 2), directory=root / "checkpoints")


def _make_vae(root: Path) -> None:
    _pictures(root / "images.npz")
    _made(VAE)


def _use_vae(root: Path) -> None:
    found = vae_run.load(root / "runs/run")
    metrics.read(root / "runs/run")
    found.model().sample(2, torch.Generator().manual_seed(0))


def _make_density(root: Path) -> None:
    _table(root / "table.csv")
    _made(DENSITY)


def _use_density(root: Path) -> None:
    found = density_run.load(root / "runs/run")
    metrics.read(root / "runs/run")
    found.density.sample(2, random_state=0)


def _make_student(root: Path) -> None:
    _make_density(root)
    _made(STUDENT)


def _use_student(root: Path) -> None:
    found = student_run.load(root / "runs/student")
    student_run.table(root / "runs/student")
    metrics.read(root / "runs/student")
    found.density.sample(2, random_state=0)


def _make_posterior_run(root: Path) -> None:
    (root / "model.py").write_text(MODEL)
    (root / "data.json").write_text(json.dumps({"scale": 9.0}))
    _made(POSTERIOR)


def _use_posterior_run(root: Path) -> None:
    posterior_run.load(root / "runs/run")
    Posterior.load(root / "runs/run/model", _target())


def _make_tables(root: Path) -> None:
    _make_density(root)
    for name in ("data.csv", "data.parquet", "data.npz"):
        _table(root / name, more=True)


def _use_tables(root: Path) -> None:
    density = density_run.load(root / "runs/run").density
    for name in ("data.csv", "data.parquet", "data.npz"):
        source = read_table(root / name)
        density.score_samples(source.block(0)[["a", "b"]])


def _make_images(root: Path) -> None:
    _make_vae(root)
    _pictures(root / "data.npz")
    _pictures(root / "data")


def _use_images(root: Path) -> None:
    for name in ("data.npz", "data"):
        images.scorable(str(root / name), 256, (1, 4, 4))


SUBJECTS: dict[str, Subject] = {
    "flow": Subject(_make_flow, _use_flow, ["flow/*"]),
    "estimator": Subject(_make_estimator, _use_estimator, ["model/*"]),
    "posterior": Subject(_make_posterior, _use_posterior, ["model/*"]),
    "fit": Subject(_make_posterior, _resume_posterior, ["checkpoints/**/*"], trains=True),
    "vae run": Subject(
        _make_vae,
        _use_vae,
        ["runs/run/**/*"],
        [
            ("sample", "runs/run", "--out", "out.npz"),
            ("score", "runs/run", "images.npz", "--out", "out.csv"),
            ("compare", "runs/run", "--out", "out.html"),
        ],
        VAE,
    ),
    "density run": Subject(
        _make_density,
        _use_density,
        ["runs/run/**/*"],
        [
            ("sample", "runs/run", "--out", "out.csv"),
            ("score", "runs/run", "table.csv", "--out", "out.csv"),
        ],
        DENSITY,
    ),
    "student run": Subject(
        _make_student,
        _use_student,
        ["runs/student/**/*"],
        [
            ("sample", "runs/student", "--out", "out.csv"),
            ("score", "runs/student", "table.csv", "--out", "out.csv"),
        ],
        STUDENT,
    ),
    "posterior run": Subject(
        _make_posterior_run,
        _use_posterior_run,
        ["runs/run/**/*.json", "runs/run/**/*.safetensors", "data.json"],
        [("sample", "runs/run", "--model", "model.py", "--out", "out.csv")],
        POSTERIOR,
    ),
    "tables": Subject(
        _make_tables,
        _use_tables,
        ["data.*"],
        [
            ("score", "runs/run", f"data.{kind}", "--out", "out.csv")
            for kind in ("csv", "parquet", "npz")
        ],
    ),
    "images": Subject(
        _make_images,
        _use_images,
        ["data.npz", "data/**/*"],
        [("score", "runs/run", name, "--out", "out.csv") for name in ("data.npz", "data")],
    ),
}
