"""Runs whose settings and weights do not agree: one line, and no memory."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from invflow._tensors import fingerprint
from invflow.vae import POSTERIORS
from invflow.vae import run as saved
from invflow.vae.build import RESNET_POSTERIORS
from tests.report.runs import run, write

HUGE = 10**9
#: Changes of settings and images, by network.
HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "latents": ("mlp", {"latents": HUGE}),
    "large latents": ("mlp", {"latents": 3000}),
    "context": ("mlp", {"context": HUGE}),
    "hidden_features": ("mlp", {"hidden_features": [HUGE, HUGE]}),
    "large hidden": ("mlp", {"hidden_features": [3000, 3000, 3000]}),
    "many hidden": ("mlp", {"hidden_features": 5000 * [1]}),
    "flow_hidden_features": ("mlp", {"flow_hidden_features": [HUGE]}),
    "large flow_hidden_features": ("mlp", {"flow_hidden_features": [3000, 3000]}),
    "flow_transforms": ("mlp", {"flow_transforms": HUGE}),
    "many flow_transforms": ("mlp", {"flow_transforms": 3000}),
    "width": ("mlp", {"shape": [1, 1, HUGE]}),
    "large width": ("mlp", {"shape": [1, 1, 10**6]}),
    "channels": ("mlp", {"shape": [HUGE, 1, 1]}),
    "levels": ("mlp", {"levels": HUGE, "likelihood": "categorical"}),
    "vamp": ("mlp", {"prior": "vamp", "shape": [1, 3000, 3000]}),
    "depths": ("resnet-vae", {"depths": [HUGE]}),
    "many depths": ("resnet-vae", {"depths": [2000]}),
    "feature_maps": ("resnet-vae", {"feature_maps": HUGE}),
    "large features": ("resnet-vae", {"feature_maps": 2000}),
    "latent_maps": ("resnet-vae", {"latent_maps": HUGE}),
    "steps": ("resnet-vae", {"flow_transforms": HUGE}),
    "channels of maps": ("resnet-vae", {"shape": [HUGE, 4, 5]}),
    "levels of nothing": ("mlp", {"levels": HUGE}),
    "maps of any size": ("resnet-vae", {"shape": [1, HUGE, HUGE]}),
    "beyond": ("mlp", {"latents": 10**400}),
    "negative": ("mlp", {"latents": -1}),
    "text": ("mlp", {"hidden_features": "wide"}),
    "nothing": ("mlp", {"latents": None}),
    "an object": ("mlp", {"shape": {"width": 4}}),
    "another network": ("mlp", {"network": "gated"}),
    "another posterior": ("mlp", {"posteriors": ["spline"]}),
    "an unknown posterior": ("mlp", {"posteriors": ["../../secret"]}),
    "precision": ("mlp", {"precision": "64-true"}),
    "a setting of later": ("mlp", {"warp": 9}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_settings(name: str, tmp_path: Path) -> None:
    network, changes = HOSTILE[name]
    directory = write(run(tmp_path / "run", network=network, posteriors=("iaf",)))
    content = json.loads((directory / "config.json").read_text())
    images = ("shape", "levels", "likelihood")
    for key, value in changes.items():
        settings = content["config"]["settings"]
        (content["config"]["facts"]["images"] if key in images else settings)[key] = value
    (directory / "config.json").write_text(json.dumps(content))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        saved.load(directory)
    assert str(directory) in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # kilobytes
    assert time.process_time() - started < 20


def _without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


#: What is said of weights that are not the model's.
WEIGHTS: dict[str, tuple[Any, str]] = {
    "missing": (lambda state, name: _without(state, name), "lack 'iaf.decoder"),
    "more": (lambda state, name: {**state, "a": torch.zeros(1)}, "hold 'a', which the model"),
    "shape": (lambda state, name: {**state, name: torch.zeros(3)}, "must have shape"),
    "dtype": (lambda state, name: {**state, name: state[name].double()}, "torch.float64"),
    "integers": (lambda state, name: {**state, name: state[name].int()}, "torch.int32"),
    "not a number": (lambda state, name: {**state, name: state[name] * torch.nan}, "finite"),
    "none": (lambda state, name: {}, "lack 'iaf"),
}


@pytest.mark.parametrize("how", WEIGHTS)
def test_hostile_weights(how: str, tmp_path: Path) -> None:
    change, message = WEIGHTS[how]
    directory = write(run(tmp_path / "run", posteriors=("iaf",)))
    state = safetensors.torch.load_file(directory / "model.safetensors")
    name = next(name for name in state if name.startswith("iaf.decoder"))
    path = directory / "model.safetensors"
    safetensors.torch.save_file(change(state, name), path)
    results = json.loads((directory / "results.json").read_text())
    results["files"][path.name] = fingerprint(path)
    (directory / "results.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match=message) as caught:
        saved.load(directory)
    assert str(directory) in str(caught.value)


@pytest.mark.parametrize(
    ("network", "posterior", "prior"),
    [("mlp", name, "normal") for name in POSTERIORS]
    + [("mlp", "iaf", name) for name in ("vamp", "autoregressive")]
    + [("resnet-vae", name, "normal") for name in RESNET_POSTERIORS],
)
def test_all_models_come_back(network: str, posterior: str, prior: str, tmp_path: Path) -> None:
    made = run(tmp_path / "run", network=network, posteriors=(posterior,), prior=prior)
    found = saved.load(write(made)).model()
    assert not found.training
    state = made.model().state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.state_dict().items())


def test_double_precision_comes_back(tmp_path: Path) -> None:
    made = run(tmp_path / "run", posteriors=("iaf",), precision="64-true")
    assert saved.load(write(made)).model().like.dtype == torch.float64
