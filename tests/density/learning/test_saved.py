"""Estimators on disk: the same numbers again, and what no longer fits is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from invflow.density import FlowDensity
from tests.density.estimators import small
from tests.helpers import unrecorded


def test_what_is_saved_gives_the_same_numbers(
    frame: pd.DataFrame, fitted: FlowDensity, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "new" / "run")
    again = FlowDensity.load(tmp_path / "new" / "run")
    np.testing.assert_array_equal(again.score_samples(frame), fitted.score_samples(frame))
    np.testing.assert_array_equal(again.reference_, fitted.reference_)
    given = frame[["group"]].head(4)
    pd.testing.assert_frame_equal(
        again.sample(4, given=given, random_state=0), fitted.sample(4, given=given, random_state=0)
    )
    assert again.columns_ == fitted.columns_
    assert again.curve_ == fitted.curve_
    assert again.n_features_in_ == 6


def test_gaps_after_saving(holes: pd.DataFrame, filling: FlowDensity, tmp_path: Path) -> None:
    filling.save(tmp_path)
    again = FlowDensity.load(tmp_path)
    np.testing.assert_array_equal(again.score_samples(holes), filling.score_samples(holes))
    pd.testing.assert_frame_equal(
        again.impute(holes, random_state=0), filling.impute(holes, random_state=0)
    )
    assert again.get_params()["kinds"] == {"rate": ["continuous", 0.0, 1.0]}
    again.set_params(steps=1).fit(holes)


def test_arrays_after_saving(rows: Any, plain: FlowDensity, tmp_path: Path) -> None:
    plain.save(tmp_path)
    again = FlowDensity.load(tmp_path)
    assert isinstance(again.sample(2), np.ndarray)
    np.testing.assert_array_equal(again.score_samples(rows), plain.score_samples(rows))


def test_damaged_files(plain: FlowDensity, tmp_path: Path) -> None:
    plain.save(tmp_path)
    config, tensors = tmp_path / "config.json", tmp_path / "model.safetensors"
    text, content = config.read_text(), tensors.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        FlowDensity.load(tmp_path / "elsewhere")
    for broken in (text[: len(text) // 2], "[]", '{"format": 99, "model": "a", "config": {}}'):
        config.write_text(broken)
        with pytest.raises(ValueError, match=r"config\.json"):
            FlowDensity.load(tmp_path)
    config.write_text(text)
    tensors.write_bytes(content[:-5])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a valid safetensors file"):
        FlowDensity.load(tmp_path)
    tensors.unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        FlowDensity.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"params": None},
        {"params": {"flow": "nsf"}},
        {"params": {"flow": "none"}},
        {"params": {"depth": 3}},
        {"params": {"flow": "maf", "transforms": "x"}},
        {"columns": {}},
        {"columns": {"names": ["a"], "features": [], "context": [], "rows": 1, "missing": False}},
        {"curve": 3},
        {"names": 3},
    ],
)
def test_configurations_that_do_not_fit(plain: FlowDensity, tmp_path: Path, change: Any) -> None:
    plain.save(tmp_path)
    config = tmp_path / "config.json"
    content = json.loads(config.read_text())
    content["config"] |= change
    config.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="does not fit a density of tables"):
        FlowDensity.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ["x1", "x0"]}, r"names must be those of the columns, got \['x1', 'x0'\]"),
        ({"levels": [None, "a"]}, "levels must be those of the columns' labels, got"),
        ({"container": {"kind": 1, "schema": None}}, "kind must be a string, got 1"),
    ],
)
def test_entries_that_do_not_fit_are_named(
    plain: FlowDensity, tmp_path: Path, change: Any, message: str
) -> None:
    plain.save(tmp_path)
    config = tmp_path / "config.json"
    content = json.loads(config.read_text())
    content["config"] |= change
    config.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"does not fit a density of tables: {message}"):
        FlowDensity.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conditional_on": ["x0"]}, "conditional_on must name the context, got"),
        ({"missing": "marginalise"}, "missing must be as in the columns, got 'marginalise'"),
        ({"validation_fraction": 2}, "validation_fraction must be between 0 and 1"),
        ({"compile": 1}, "compile must be True or False"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    plain: FlowDensity, tmp_path: Path, change: Any, message: str
) -> None:
    plain.save(tmp_path)
    config = tmp_path / "config.json"
    content = json.loads(config.read_text())
    content["config"]["params"] |= change
    config.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"does not fit a density of tables: {message}"):
        FlowDensity.load(tmp_path)


def test_a_density_of_an_earlier_version(plain: FlowDensity, tmp_path: Path) -> None:
    plain.save(tmp_path)
    config = tmp_path / "config.json"
    content = json.loads(config.read_text())
    for earlier, now in (("auto", False), ("never", False), ("always", True)):
        content["config"]["params"]["compile"] = earlier
        config.write_text(json.dumps(content))
        assert FlowDensity.load(tmp_path).compile is now


def test_tensors_that_do_not_fit(plain: FlowDensity, tmp_path: Path) -> None:
    plain.save(tmp_path)
    unrecorded(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    for broken in (
        {name: tensor for name, tensor in state.items() if name != "reference"},
        {name: tensor[..., :1].clone() for name, tensor in state.items()},
        {"reference": state["reference"]},
        {"model.x": torch.ones(2, dtype=torch.long)},
    ):
        save_file(broken, path)
        with pytest.raises(ValueError, match="does not fit a density of tables"):
            FlowDensity.load(tmp_path)


def test_a_density_without_settings_is_to_be_trained_again(
    plain: FlowDensity, tmp_path: Path
) -> None:
    plain.save(tmp_path)
    config = tmp_path / "config.json"
    content = json.loads(config.read_text())
    del content["config"]["settings"]
    config.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"saved by an earlier version, .*: train it again"):
        FlowDensity.load(tmp_path)


def test_another_model_is_no_density(plain: FlowDensity, tmp_path: Path) -> None:
    plain.model_.flow.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds the model 'maf', expected 'table-density'"):
        FlowDensity.load(tmp_path)


def test_a_failed_save_harms_nothing(rows: Any, plain: FlowDensity, tmp_path: Path) -> None:
    plain.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    odd = small(flow_options={"univariate": object()})
    odd.__dict__.update({k: v for k, v in vars(plain).items() if k.endswith("_")})
    with pytest.raises((TypeError, ValueError), match=r"flow_options|JSON"):
        odd.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
