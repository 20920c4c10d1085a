"""The command on a page, typed again, asks for the same run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from invflow.cli.jobs import JOBS
from invflow.report.settings import repeated
from invflow.runs.options import arguments
from invflow.runs.settings import Config
from tests.cli.conftest import Invflow

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "vae-run": [
        {},
        {"data": "a folder/of 'images'", "size": 8, "posteriors": ("full",), "beta": 0.5},
        {"network": "resnet-vae", "depths": (2, 1), "compile": True, "averaging_decay": 0.999},
        {"hidden_features": (), "warmup": 0, "learning_rate": 1e-5, "seed": 2**31},
    ],
    "density-run": [
        {"data": "-table.csv", "conditional_on": ("-a", "b c"), "steps": 5},
        {
            "data": "table.csv",
            "kinds": {
                "a": "integer",
                "b=c": (0.0, 1.5),
                "-d": ("integer", None, 3.0),
                "e": (None, -2.5e-7),
            },
        },
    ],
    "inference-run": [
        {"simulations": "s.csv", "parameters": ("a",), "observed": "o.csv"},
        {
            "simulations": "-s.csv",
            "parameters": ("-a", "b c"),
            "observed": "-o.csv",
            "prior": {"-a": "uniform:0:1", "b c": "real"},
            "method": "nle",
            "invalid": "drop",
            "settings": {"hidden_features": (8, 4), "ensemble": 2, "learning_rate": 1e-5},
        },
    ],
    "image-density-run": [
        {"data": "digits"},
        {"data": "mnist", "conditional": True, "label_dropout": 0.2, "patch": 4, "noise": 0.05},
        {"data": "cifar10", "flow": "nsf", "alpha": 0.05, "size": 8, "draws": 3},
    ],
    "student-run": [{"teacher": "runs/a b", "univariate": "spline", "forward": 0.25}],
    "posterior-run": [
        {"model": "m.py"},
        {"model": "m.py", "data": "-d.json", "settings": {"tolerance": 0.1, "max_steps": 7}},
    ],
}
CASES = [(kind, settings) for kind, each in SETTINGS.items() for settings in each]


@pytest.mark.parametrize(("kind", "settings"), CASES)
@pytest.mark.parametrize("place", [None, Path("runs/own"), Path("/elsewhere/-b c")])
def test_the_command_asks_for_the_same_run(
    kind: str,
    settings: dict[str, Any],
    place: Path | None,
    invflow: Invflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = JOBS[kind]
    config = job.config(**settings)
    asked: list[tuple[Config, Path]] = []

    def train(config: Config, directory: Path, **others: Any) -> None:
        asked.append((config, directory))

    monkeypatch.setattr(job.part("experiment"), "train", train)
    default = job.part("run").name(config)
    directory = place or Path("runs") / default
    command = repeated(directory, config, job.command, default)
    program, *typed = shlex.split(command)
    assert program == "invflow"
    assert invflow(*typed) == (0, "", "")
    assert asked == [(config, directory)]
    assert ("--name" in typed) is (place is not None)
    assert ("--runs" in typed) is (directory.parent != Path("runs"))


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_presets_are_spelled_out(
    job: Any, invflow: Invflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Config] = []
    monkeypatch.setattr(
        job.part("experiment"), "train", lambda config, *args, **more: asked.append(config)
    )
    for preset in job.config.presets:
        config = job.config(**job.config.presets[preset])
        assert invflow(job.command, *arguments(config)) == (0, "", "")
        assert asked.pop() == config


def test_defaults_are_not_named() -> None:
    config = JOBS["vae-run"].config()
    assert repeated(Path("runs/digits"), config, "vae", "digits") == "invflow vae"
