"""Runs: judged by rows that they never learn from, the same whatever interrupts them."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from invflow.density import data, experiment, run
from invflow.density.config import Config
from invflow.density.table import Parquet, read
from invflow.density.table.source import blocks
from invflow.runs.directory import is_finished
from tests.density.runs import QUICK, config, mixed, written

SOME = {"conditional_on": ("colour",), "kinds": {"share": (0, 1)}}


def _numbers(source: object) -> list[int]:
    return [row for block in blocks(source) for row in block.index]  # pyright: ignore


def test_rows_are_split_once_and_keep_their_numbers(tmp_path: Path) -> None:
    frame = mixed(50)
    found = data.load(config(written(frame, tmp_path / "a.csv"), test_fraction=0.2))
    train, test = _numbers(found.train), _numbers(found.test)
    assert sorted(train + test) == list(range(50))
    assert len(test) == 10
    block = found.test.block(0)
    np.testing.assert_allclose(block["size"], frame["size"].iloc[block.index])
    again = data.load(config(tmp_path / "a.csv", test_fraction=0.2, seed=1))
    assert set(_numbers(again.test)) != set(test)


def test_row_groups_are_set_aside_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file that is not to be in memory, the run learns what its row groups hold."""
    frame = mixed(400)
    frame.index = frame.index[::-1]  # of which nothing depends
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=40, index=False)
    # By the module, as its package has a function of the same name.
    monkeypatch.setattr(import_module("invflow.density.table.files.read"), "STREAMED_BYTES", 0)
    assert isinstance(read(tmp_path / "a.parquet"), Parquet)
    settings = config(tmp_path / "a.parquet", test_fraction=0.2, **SOME)
    found = data.load(settings)
    assert (list(found.train.blocks), list(found.test.blocks)) == ([40] * 8, [40] * 2)
    numbers = _numbers(found.test)
    assert sorted(_numbers(found.train) + numbers) == list(range(400))
    finished = experiment.train(settings, tmp_path / "run")
    assert finished.results.assessment.rows == 80
    for worst in finished.results.assessment.worst:
        assert worst.row in numbers
        row = frame.iloc[[worst.row]].reset_index(drop=True)
        score = finished.density.score_samples(row)[0]
        assert worst.log_density == pytest.approx(score, rel=1e-6)


def test_a_category_of_the_test_alone_is_no_error(tmp_path: Path) -> None:
    frame = mixed(60)
    first = data.load(config(written(frame, tmp_path / "a.csv"), **SOME))
    frame.loc[_numbers(first.test)[0], "colour"] = "mauve"
    settings = config(written(frame, tmp_path / "a.csv"), **SOME)
    finished = experiment.train(settings, tmp_path / "run")
    assert finished.density.columns_.context[0].categories == ("green", "mauve", "red")


def test_what_is_learned_does_not_depend_on_the_test_rows(tmp_path: Path) -> None:
    frame = mixed(60).drop(columns="colour")
    said: dict[str, object] = {"conditional_on": ("size",), "kinds": {"share": (0, 1)}}
    settings = config(written(frame, tmp_path / "first.csv"), **said)
    first = experiment.train(settings, tmp_path / "first")
    numbers = _numbers(data.load(settings).test)
    frame.loc[numbers, "size"] += 1000.0
    frame.loc[numbers, "count"] += 50
    frame.loc[numbers, "share"] *= 1e-6
    second = experiment.train(
        config(written(frame, tmp_path / "second.csv"), **said), tmp_path / "second"
    )
    weights = [run.directory / "model" / "model.safetensors" for run in (first, second)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    table = mixed(20, seed=1).drop(columns="colour")
    np.testing.assert_array_equal(
        first.density.score_samples(table), second.density.score_samples(table)
    )
    assert first.results.assessment.log_density > second.results.assessment.log_density


def test_a_context_far_from_those_learned_is_found_at_once(tmp_path: Path) -> None:
    frame = mixed(60)[["count", "size"]]
    settings = config(written(frame, tmp_path / "a.csv"), conditional_on=("size",))
    row = _numbers(data.load(settings).test)[2]
    frame.loc[row, "size"] = 1e12
    written(frame, tmp_path / "a.csv")
    with pytest.raises(ValueError, match=rf"has 1e\+12 in row {row}, far outside"):
        experiment.train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("missing", "steps", "stops"), [("refuse", 110, (30, 75)), ("marginalise", 54, (52,))]
)
def test_a_stopped_run_goes_on_to_the_same_numbers(
    tmp_path: Path, missing: str, steps: int, stops: tuple[int, ...]
) -> None:
    frame = mixed(60)
    if missing == "marginalise":
        frame.loc[::7, "size"] = np.nan
    # Evaluations, and with them checkpoints, come every 10 steps.
    settings = config(written(frame, tmp_path / "a.csv"), steps=steps, missing=missing, **SOME)
    whole = experiment.train(settings, tmp_path / "whole")
    for stop in stops:

        def report(step: int, line: str, stop: int = stop) -> None:
            if step >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            experiment.train(settings, tmp_path / "again", report=report)
        assert not is_finished(tmp_path / "again")
        with pytest.raises(ValueError, match="unfinished run"):
            run.load(tmp_path / "again")
    again = experiment.train(settings, tmp_path / "again")
    for name in ("model/model.safetensors", "model/config.json", "config.json"):
        first, second = (tmp_path / each / name for each in ("whole", "again"))
        assert first.read_bytes() == second.read_bytes(), name
    assert again.results.assessment == whole.results.assessment
    assert [step for step, _ in again.density.curve_] == [*range(10, steps, 10), steps]


def test_what_is_on_disk(tmp_path: Path) -> None:
    path = written(mixed(60), tmp_path / "a.csv")
    made = experiment.train(config(path, **SOME), tmp_path / "run")
    names = {each.name for each in made.directory.iterdir() if "tfevents" not in each.name}
    files = {"config.json", "metrics.csv", "results.json", "scores.safetensors"}
    assert names == {"checkpoints", "model", *files}
    content = json.loads((made.directory / "config.json").read_text())
    assert content["model"] == "density-run"
    assert content["versions"].keys() == {"torch", "numpy", "safetensors", "python"}
    assert len(content["config"]["inputs"]["data"]["sha256"]) == 64
    assert run.load(made.directory).config == made.config


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    path = written(mixed(60), tmp_path / "a.csv")
    settings = config(path, **SOME)
    experiment.train(settings, tmp_path / "run")
    before = (tmp_path / "run" / "results.json").read_bytes()
    told: list[str] = []
    experiment.train(settings, tmp_path / "run", report=lambda step, line: told.append(line))
    assert told == ["already finished"]
    assert (tmp_path / "run" / "results.json").read_bytes() == before
    with pytest.raises(FileExistsError, match=r"different settings \(seed is 0, not 1\)"):
        experiment.train(config(path, seed=1, **SOME), tmp_path / "run")
    written(mixed(61), path)
    with pytest.raises(FileExistsError, match="different data"):
        experiment.train(settings, tmp_path / "run")
    made = experiment.train(settings, tmp_path / "run", overwrite=True)
    assert made.density.columns_.rows == 61


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_directories_are_left_alone(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    settings = config(written(mixed(60), tmp_path / "a.csv"), **SOME)
    with pytest.raises(FileExistsError, match="is not a density run"):
        experiment.train(settings, tmp_path / "run", overwrite=overwrite)
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flow": "fancy"}, "flow must be one of 'coupling-nsf'"),
        ({"flow": "mixture"}, "flow must be one of 'coupling-nsf'"),
        ({"conditional_on": (), "kinds": {"colour": "continuous"}}, "'colour' has values that are"),
        ({"kinds": {"size": "integer"}}, "column 'size' has .* but is declared integer"),
        (
            {"test_fraction": 0.01},
            "test_fraction 0.01 leaves 1 of 60 rows to judge by, 2 or more are needed",
        ),
        (
            {"test_fraction": 0.99},
            "test_fraction 0.99 leaves 1 of 60 rows to learn from, 2 or more",
        ),
        ({"accelerator": "warp"}, "accelerator 'warp' cannot be used"),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_written(
    tmp_path: Path, settings: dict[str, object], message: str
) -> None:
    path = written(mixed(60), tmp_path / "a.csv")
    with pytest.raises(ValueError, match=message):
        experiment.train(config(path, **SOME | settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_columns_that_cannot_be_judged_are_named(tmp_path: Path) -> None:
    frame = mixed(60)
    frame.loc[3:, "size"] = np.nan
    settings = config(written(frame, tmp_path / "a.csv"), missing="marginalise", **SOME)
    with pytest.raises(ValueError, match=r"column 'size' has \d value"):
        experiment.train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_few_rows_are_refused(tmp_path: Path) -> None:
    path = written(mixed(19), tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"has 19 row\(s\); a run takes 20 or more"):
        data.load(config(path))


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"kinds": {"a": "text"}},
        {"kinds": {"a": (0, float("nan"))}},
        {"seed": 2**32},
        {"validation_fraction": 1.0},
        {"missing": "guess"},
        {"optimizer": "adam"},
    ],
)
def test_settings_out_of_range(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"data": "a.csv", **QUICK, **settings})


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("results.json", '"seconds"', '"minutes"', "does not hold the results"),
        ("config.json", '"sha256"', '"md5"', "cannot read .there is no 'sha256'"),
        ("config.json", '"density-run"', '"vae-run"', "holds a 'vae-run', expected a density run"),
        ("model/config.json", '"features"', '"columns"', "has changed since the run finished"),
    ],
)
def test_damaged_runs(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    path = written(mixed(60), tmp_path / "a.csv")
    experiment.train(config(path, **SOME), tmp_path / "run")
    file = tmp_path / "run" / name
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        run.load(tmp_path / "run")


def test_a_density_of_zero_is_written_and_read(tmp_path: Path) -> None:
    """JSON has no infinity."""
    path = written(mixed(60), tmp_path / "a.csv")
    made = experiment.train(config(path, **SOME), tmp_path / "run")
    assessment = made.results.assessment
    changed = type(assessment)(
        **{**vars(assessment), "log_density": -np.inf, "log_density_error": np.nan, "outside": 1}
    )
    results = run.Results(assessment=changed, seconds=1.0)
    scores = torch.full_like(made.scores, -torch.inf)
    run.finish(made.directory, made.density, results, scores)
    assert run.load(made.directory).scores.tolist() == scores.tolist()
    found = run.load(made.directory).results.assessment
    assert found.log_density == -np.inf
    assert np.isnan(found.log_density_error)
    assert isinstance(found.calibration.columns[0].coverage[0.5], float)
    assert pd.Series(found.histograms["size"]).sum() == found.compared
