"""A run that is killed at any moment resumes to the same weights and results, of every kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invflow.cli.app import app
from invflow.cli.jobs import JOBS
from tests.density.runs import mixed, written
from tests.helpers import fast

MODEL = """
dim = 2
def log_density(z):
    return -0.5 * z[:, 0].square() - 2 * (z[:, 1] - z[:, 0].square()).square()
"""
#: What trains a run of each kind, in several checkpoints.
COMMANDS: dict[str, Sequence[object]] = {
    "vae-run": (
        *("vae", "images.npz", "--posteriors", "iaf", "--latents", 2, "--hidden-features", 8),
        *("--steps", 60, "--evaluate-every", 15, "--importance-samples", 2, "--batch-size", 8),
    ),
    "density-run": ("density", "table.csv", "--flow", "maf", "--steps", 160, "--patience", 0),
    "image-density-run": (
        *("density", "images.npz", "--hidden-features", "8", "--transforms", 2, "--steps", 160),
        *("--batch-size", 8, "--patience", 0, "--draws", 2, "--noise", 0.05),
    ),
    "inference-run": (
        *("infer", "simulations.csv", "--parameters", "a,b", "--observed", "observed.csv"),
        *("--flow", "maf", "--ensemble", 2, "--steps", 160, "--patience", 0, "--draws", 100),
    ),
    "student-run": (
        *("distill", "runs/teacher", "--steps", 600, "--transforms", 1, "--batch-size", 16),
        *("--hidden-features", 8, "--evaluation-draws", 100),
    ),
    "posterior-run": (
        *("posterior", "model.py", "--max-steps", 120, "--steps-per-round", 30),
        *("--batch-size", 64, "--evaluation-draws", 256, "--draws", 100),
    ),
}
#: What is measured in seconds, and so is never the same.
SECONDS = ("seconds", "student_seconds", "teacher_seconds")


def test_every_kind_is_here() -> None:
    assert COMMANDS.keys() == JOBS.keys()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a table, images, a model, and a density that can teach."""
    place = tmp_path_factory.mktemp("place")
    written(mixed(120)[["size", "share"]], place / "table.csv")
    np.savez(place / "images.npz", np.random.default_rng(0).integers(0, 5, (60, 4, 4)))
    (place / "model.py").write_text(MODEL)
    simulated = np.random.default_rng(1).normal(size=(120, 4))
    simulated[:, 2:] += simulated[:, :2]
    rows = [",".join(map(str, row)) for row in simulated.tolist()]
    (place / "simulations.csv").write_text("\n".join(["a,b,x,y", *rows]))
    (place / "observed.csv").write_text("x,y\n0.5,-0.3\n")
    teach = ["density", "table.csv", "--name", "teacher", "--flow", "gaussian", "--steps", "20"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        app(teach, standalone_mode=False)
    return place


def _command(kind: str, name: str) -> list[str]:
    options = [*COMMANDS[kind], "--name", name]
    return [sys.executable, "-m", "invflow", *map(str, options)]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def _learned(run: Path) -> tuple[dict[str, str], Any]:
    """Return digests of what a run has learned, and its results without what takes time."""
    content = json.loads((run / "results.json").read_text())

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if k not in SECONDS}
        return value

    # The record of a posterior holds the seconds of its fit.
    digests = {k: v for k, v in content["files"].items() if k != "model/posterior.json"}
    return digests, timeless(content["results"])


SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: Every kind by one signal, and by all of them in succession. The fit of a posterior has a loop of
#: its own, and all others share one: one kind with each loop is quick.
CASES = fast(
    [("density-run", SIGNALS[1:2]), ("posterior-run", SIGNALS[2:])],
    [
        *((kind, SIGNALS[i % 3 :][:1]) for i, kind in enumerate(COMMANDS)),
        *((kind, SIGNALS) for kind in COMMANDS),
    ],
)


@pytest.mark.parametrize(("kind", "signals"), CASES)
def test_killed_and_resumed(place: Path, kind: str, signals: Sequence[signal.Signals]) -> None:
    """At random moments, each time going further; then to the end."""
    whole, killed = (f"{kind}-{each}-{len(signals)}" for each in ("whole", "killed"))
    begun = time.monotonic()
    subprocess.run(
        _command(kind, whole), cwd=place, env=_environment(), check=True, capture_output=True
    )
    seconds = time.monotonic() - begun
    moments = np.random.default_rng(len(kind)).uniform(0.5, 1.0, len(signals))
    for number, moment in zip(signals, moments, strict=True):
        process = subprocess.Popen(
            _command(kind, killed),
            cwd=place,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, told = process.communicate(timeout=moment * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            _, told = process.communicate()
        if number != signal.SIGINT:  # which may come before there is anything to catch it
            assert "Traceback" not in told
    done = subprocess.run(
        _command(kind, killed), cwd=place, env=_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    runs = place / "runs"
    assert _learned(runs / killed) == _learned(runs / whole)
    assert not [path for path in (runs / killed).rglob(".*") if path.is_file()]
