"""Students of densities: close to their teachers, in all that a density can do; resumable runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from invflow.density import FlowDensity, experiment
from invflow.distillation import run as student
from invflow.distillation.config import Config
from invflow.distillation.experiment import train as teach
from invflow.distillation.learn import learn
from invflow.distillation.run import contexts
from tests.density.runs import config, mixed, written

SMALL: dict[str, Any] = {
    "transforms": 1,
    "hidden_features": (8,),
    "steps": 30,
    "batch_size": 32,
    "evaluation_draws": 200,
}


def _kinds() -> dict[str, Any]:
    return {"conditional_on": ("colour",), "kinds": {"share": (0, 1)}}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional density of numbers, counts and shares."""
    directory = tmp_path_factory.mktemp("teacher")
    asked = config(written(mixed(), directory / "table.csv"), **_kinds())
    return experiment.train(asked, directory / "run").directory


def _asked(teacher: Path, **settings: Any) -> Config:
    return Config(teacher=str(teacher), **{**SMALL, **settings})


def test_a_student_comes_close_to_a_gaussian(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(400, 2)) @ [[1, 2], [0, 30]])
    asked = config(written(frame.set_axis(["a", "b"], axis=1), tmp_path / "t.csv"))
    experiment.train(asked, tmp_path / "run")
    settings = _asked(
        tmp_path / "run", steps=300, learning_rate=0.01, batch_size=128, evaluation_draws=1000
    )
    found = teach(settings, tmp_path / "student")
    results = found.results
    # An affine map of each feature given those before it is a Gaussian: nothing need be left.
    assert abs(results.reverse[0]) < 0.02 + 4 * results.reverse[1]
    assert abs(results.forward[0]) < 0.02 + 4 * results.forward[1]
    assert results.effective > 0.9
    assert not results.energy.differs
    rows = student.density(tmp_path / "run").sample(500, random_state=0)
    exact = student.density(tmp_path / "run").score_samples(rows)
    assert np.abs(found.density.score_samples(rows) - exact).mean() < 0.2


def test_a_student_does_what_a_density_does(teacher: Path, tmp_path: Path) -> None:
    found = teach(_asked(teacher), tmp_path / "student")
    rows = found.density.sample(5, given={"colour": "red"}, random_state=0)
    assert list(rows.columns) == ["size", "colour", "count", "share", "new"]
    assert rows["new"].dtype == bool
    assert rows["share"].between(0, 1).all()
    table = mixed(40, seed=1)
    scores = found.density.score_samples(table)
    assert np.isfinite(scores).all()
    assert (found.density.anomaly_scores(table) > 0).all()
    again = student.load(tmp_path / "student")
    assert np.allclose(again.density.score_samples(table), scores)
    assert again.results == found.results
    assert again.config == found.config
    assert (tmp_path / "student" / "model" / "config.json").is_file()


def test_gaps_are_filled_by_the_teachers_imputer(tmp_path: Path) -> None:
    frame = mixed(120)[["size", "share"]]
    frame.loc[::3, "size"] = np.nan
    asked = config(written(frame, tmp_path / "t.csv"), missing="marginalise", steps=5)
    taught = experiment.train(asked, tmp_path / "run").density
    pupil = learn(taught, _asked(tmp_path / "run", steps=2))
    assert pupil.imputer_ is taught.imputer_
    filled = pupil.sample_conditional(frame[:6], random_state=0)
    assert not filled.isna().to_numpy().any()


def test_the_same_seed_gives_the_same_student_after_a_kill(teacher: Path, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    asked = _asked(teacher, steps=400)
    first = teach(asked, tmp_path / "whole").density.model_.state_dict()
    with pytest.raises(KilledError):
        teach(asked, tmp_path / "killed", report=_at(225, KilledError))
    assert list((tmp_path / "killed" / "checkpoints").glob("step-*"))
    with pytest.raises(ValueError, match="unfinished"):
        student.load(tmp_path / "killed")
    second = teach(asked, tmp_path / "killed").density.model_.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    said: list[str] = []
    teach(asked, tmp_path / "killed", report=lambda step, line: said.append(line))
    assert said == ["already finished"]


def _at(wanted: int, error: type[Exception]) -> Any:
    def report(step: int, line: str) -> None:
        if step == wanted:
            raise error

    return report


def test_contexts_are_those_of_the_rows_learned(teacher: Path) -> None:
    found = contexts(str(teacher), student.density(teacher))
    assert found is not None
    assert found.shape[1] == 2
    assert torch.equal(found.sum(1), torch.ones(len(found), dtype=torch.float64))


def test_another_teacher_at_the_same_place(tmp_path: Path) -> None:
    asked = config(written(mixed(60)[["size", "share"]], tmp_path / "t.csv"))
    experiment.train(asked, tmp_path / "run")
    teach(_asked(tmp_path / "run"), tmp_path / "student")
    # The same one by another path is the same.
    same = _asked(tmp_path / "run" / ".." / "run")
    teach(same, tmp_path / "student", report=_at(1, AssertionError))
    experiment.train(asked.model_copy(update={"seed": 1}), tmp_path / "run", overwrite=True)
    with pytest.raises(FileExistsError, match="different teacher"):
        teach(_asked(tmp_path / "run"), tmp_path / "student")


def test_columns_far_from_zero_keep_their_digits(tmp_path: Path) -> None:
    rows = 1e9 + np.random.default_rng(0).normal(size=(300, 2))
    taught = FlowDensity("gaussian", steps=50, random_state=0).fit(rows)
    pupil = learn(taught, Config(teacher="", steps=5, batch_size=32))
    pupil.save(tmp_path / "student")
    again = FlowDensity.load(tmp_path / "student")
    assert np.array_equal(again.score_samples(rows), pupil.score_samples(rows))
    assert np.abs(pupil.sample(500, random_state=0).mean(0) - 1e9).max() < 0.5


def test_a_table_that_has_changed(tmp_path: Path) -> None:
    asked = config(written(mixed(60), tmp_path / "t.csv"), **_kinds())
    experiment.train(asked, tmp_path / "run")
    written(mixed(60, seed=1), tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"t\.csv has changed since .*run was trained"):
        teach(_asked(tmp_path / "run"), tmp_path / "student")
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"flow": "nope"}, ValueError, "flow must be one of .*, got 'nope'"),
        ({"univariate": "nope"}, ValueError, "univariate must be one of"),
        ({"teacher": "nowhere"}, FileNotFoundError, "nowhere does not exist"),
    ],
)
def test_bad_settings_leave_nothing(
    teacher: Path, tmp_path: Path, settings: Any, error: type[Exception], message: str
) -> None:
    asked = _asked(teacher).model_copy(update=settings)
    with pytest.raises(error, match=message):
        teach(asked, tmp_path / "student")
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize("settings", [{"steps": 0}, {"forward": -1}, {"evaluation_draws": 10}])
def test_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config(teacher="x", **settings)


def test_other_runs_are_not_touched(teacher: Path, tmp_path: Path) -> None:
    teach(_asked(teacher), tmp_path / "student")
    with pytest.raises(FileExistsError, match=r"different settings \(steps is 30, not 31\)"):
        teach(_asked(teacher, steps=31), tmp_path / "student")
    with pytest.raises(FileExistsError, match="is not a distillation run"):
        teach(_asked(teacher), teacher)
    with pytest.raises(ValueError, match="expected a distillation run"):
        student.load(teacher)


def test_a_student_can_teach(tmp_path: Path) -> None:
    frame = mixed(60)[["size", "share"]]
    experiment.train(config(written(frame, tmp_path / "t.csv")), tmp_path / "run")
    teach(_asked(tmp_path / "run"), tmp_path / "student")
    found = teach(_asked(tmp_path / "student", seed=1), tmp_path / "second")
    assert isinstance(found.density, FlowDensity)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("results.json", '"reverse"', '"backward"', "does not hold the results"),
        ("config.json", '"sha256"', '"md5"', "cannot read .there is no 'sha256'"),
        ("config.json", '"student-run"', '"vae-run"', "holds a 'vae-run', expected a distil"),
        ("model/config.json", '"features"', '"columns"', "has changed since the run finished"),
    ],
)
def test_damaged_runs(
    teacher: Path, tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    teach(_asked(teacher), tmp_path / "student")
    file = tmp_path / "student" / name
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        student.load(tmp_path / "student")


def test_what_has_no_density(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        student.density(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds a 'table-density', expected a density"):
        student.density(teacher / "model")
    teach(_asked(teacher), tmp_path / "student")
    (tmp_path / "student" / "results.json").unlink()
    with pytest.raises(ValueError, match="unfinished run"):
        student.density(tmp_path / "student")
    written_config = tmp_path / "student" / "config.json"
    written_config.write_text(written_config.read_text().replace("student-run", "vae-run"))
    with pytest.raises(ValueError, match="holds a 'vae-run', expected a density"):
        student.density(tmp_path / "student")


def test_categories_are_those_of_the_teacher() -> None:
    """Student and teacher differ in the numbers alone, and so does a divergence of their flows."""
    source = np.random.default_rng(0)
    kind = source.choice(["u", "v"], 300, p=[0.8, 0.2])
    table = pd.DataFrame({"x": source.normal(size=300) + 3 * (kind == "u"), "kind": kind})
    taught = FlowDensity("maf", steps=30, random_state=0).fit(table)
    found = learn(taught, Config(teacher="", steps=5))
    assert found.model_.categories is taught.model_.categories
    drawn = found.sample(400, random_state=0)
    assert (drawn["kind"] == "u").mean() == pytest.approx(0.8, abs=0.15)
    with pytest.raises(ValueError, match="the density has only categorical columns, which have no"):
        learn(FlowDensity("maf", steps=5).fit(table[["kind"]]), Config(teacher="", steps=5))
