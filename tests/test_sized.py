"""What a file's configuration asks for is compared with its tensors before it takes memory."""

from __future__ import annotations

import json
import multiprocessing
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from invflow import MAF, flows
from invflow._sized import sized_by
from invflow.density import FlowDensity
from invflow.flows import Flow, FlowMixture

#: Megabytes.
ENOUGH = 300
FLOWS: dict[str, dict[str, Any]] = {
    **{name: {} for name in ("gaussian", "planar", "radial", "sylvester", "coupling-nsf", "umnn")},
    "iaf": {"hidden_features": [5]},
    "maf": {"hidden_features": [], "context": 2},
    "nsf": {"conditioner": "lstm", "transforms": 2},
    "realnvp": {"hidden_features": [4, 4]},
    "naf": {"order": "random"},
}
HOSTILE: list[Any] = [10**9, 10**30, 50_000, -1, 0, True, 1.5, float("nan"), "x", [], [10**9], {}]


@pytest.mark.parametrize(("name", "options"), FLOWS.items(), ids=FLOWS)
def test_flows_fit_their_own_tensors(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    for features in (2, 100):
        flow = flows.build(name, features=features, **options)
        for dtype in (torch.float64, torch.float16):
            flow.to(dtype).save_pretrained(tmp_path)
            again = Flow.from_pretrained(tmp_path)
            assert again.described() == flow.described()
    FlowMixture([flow.float(), flow.float()]).save_pretrained(tmp_path)
    FlowMixture.from_pretrained(tmp_path)


def test_many_small_transforms(tmp_path: Path) -> None:
    """The number of operations follows that of tensors, however few numbers they have."""
    flow = MAF(2, transforms=300, hidden_features=(2,))
    flow.save_pretrained(tmp_path)
    assert Flow.from_pretrained(tmp_path).described() == flow.described()


def _load(directory: Path, load: Any) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="does not fit"):
        load(directory)
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert taken < ENOUGH, taken


def _is_refused(directory: Path, load: Any) -> bool:
    """Whether what is saved is refused without much memory. Forked, as memory only grows."""
    process = multiprocessing.get_context("fork").Process(target=_load, args=(directory, load))
    process.start()
    process.join(60)
    process.kill()
    return process.exitcode == 0


def _change(directory: Path, **settings: Any) -> None:
    path = directory / "config.json"
    content = json.loads(path.read_text())
    content["config"] |= settings
    path.write_text(json.dumps(content))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {"features": 10**9},
        {"features": 30_000},
        {"context": 10**9},
        {"transforms": 10**9},
        {"transforms": 60_000},
        {"hidden_features": [10**9]},
        {"hidden_features": [60_000, 60_000]},
        {"hidden_features": [3000, 3000], "transforms": 1000},
        {"univariate": {"name": "spline", "bins": 10**9}},
        {"univariate": {"name": "spline", "bins": 60_000}, "hidden_features": [1000]},
        {"conditioner": "lstm", "hidden_features": [60_000]},
        {"base": {"name": "student-t", "df": "x"}},
        {"order": list(range(5000))},
    ],
    ids=str,
)
def test_sizes_beyond_the_tensors(settings: dict[str, Any], tmp_path: Path) -> None:
    MAF(3, hidden_features=(4,)).save_pretrained(tmp_path)
    _change(tmp_path, **settings)
    assert _is_refused(tmp_path, MAF.from_pretrained)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "params",
    [
        {"transforms": 10**9},
        {"hidden_features": [60_000, 60_000]},
        {"flow": "nsf", "flow_options": {"univariate": {"name": "spline", "bins": 10**9}}},
        {"flow": "umnn", "flow_options": {"univariate": {"name": "monotonic", "nodes": 50_000}}},
    ],
    ids=str,
)
def test_densities_beyond_their_tensors(params: dict[str, Any], tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    density = FlowDensity("maf", transforms=1, hidden_features=(4,), steps=2, random_state=0)
    density.fit(rows).save(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())["config"]["params"]
    _change(tmp_path, params=content | params)
    assert _is_refused(tmp_path, FlowDensity.load)


def test_nested_beyond_measure(tmp_path: Path) -> None:
    flow = flows.Preconditioned(MAF(2, transforms=1, hidden_features=(4,)))
    flow.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    text = path.read_text()
    for depth in (300, 100_000):
        inner = '{"name": "preconditioned", "flow": ' * depth
        path.write_text(text.replace('"flow": ', '"flow": ' + inner, 1) + "}" * depth)
        with pytest.raises(ValueError, match=r"is not a valid JSON file: it is nested"):
            Flow.from_pretrained(tmp_path)
    path.write_text(text)
    deep: Any = flow.described()
    for _ in range(40):
        deep = {"name": "preconditioned", "flow": deep}
    _change(tmp_path, flow=deep)
    with pytest.raises(ValueError, match="does not fit a flow 'preconditioned'"):
        Flow.from_pretrained(tmp_path)


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
def test_every_size_of_a_density(hostile: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    density = FlowDensity("maf", transforms=2, hidden_features=(4,), steps=2, random_state=0)
    density.fit(rows).save(tmp_path)
    path = tmp_path / "config.json"
    text = path.read_text()
    for part, keys in {
        "params": ["transforms", "hidden_features", "steps", "batch_size", "learning_rate"],
        "columns": ["names", "features", "context", "rows", "missing"],
    }.items():
        for key in keys:
            content = json.loads(text)
            if (key, hostile) in ALLOWED:
                continue
            content["config"][part][key] = hostile
            path.write_text(json.dumps(content))
            with pytest.raises(ValueError, match=r"does not fit a density of tables|holds NaN"):
                FlowDensity.load(tmp_path)


#: What the fields may hold.
ALLOWED: list[tuple[str, Any]] = [
    *((key, value) for key in ("steps", "batch_size", "rows") for value in (10**9, 10**30, 50_000)),
    *(("learning_rate", value) for value in (10**9, 10**30, 50_000, 1.5)),
    ("context", []),
    ("context", {}),
    ("missing", True),
]


def test_sizes_of_a_model() -> None:
    state = MAF(2, hidden_features=(4,)).state_dict()
    with sized_by(state, {"hidden_features": [4], "seed": -(2**16)}):
        MAF(2, hidden_features=(4,))
    for config in ({"a": [{"b": 2**16 + 1}]}, [-(10**9)]):
        with (
            pytest.raises(ValueError, match="the configuration holds the size"),
            sized_by(state, config),
        ):
            pass
    with (
        pytest.raises(ValueError, match="the configuration describes a larger model"),
        sized_by(state, {}),
    ):
        torch.arange(10**12)
    with (
        pytest.raises(ValueError, match="the configuration describes a larger model"),
        sized_by(state, {}),
    ):
        torch.outer(torch.ones(50_000), torch.ones(50_000))
    with sized_by(state, {}):
        assert torch.rand(3, generator=torch.Generator()).shape == (3,)
