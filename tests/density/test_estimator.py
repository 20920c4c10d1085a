"""The scikit-learn estimator: its contract, mixed tables, saving, and what it refuses."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from invflow.density import FlowDensity

SMALL: Any = {"flow": "maf", "transforms": 1, "hidden_features": (8,), "random_state": 0}
NAN = np.nan
COUNT = 200


# Some checks fit a grid of a few values.
@pytest.mark.filterwarnings("ignore:column .* is taken for continuous")
@parametrize_with_checks([FlowDensity("maf", steps=5, transforms=1, hidden_features=(8,))])
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def small(**options: Any) -> FlowDensity:
    return FlowDensity(**{**SMALL, "steps": 5, **options})


def mixed() -> pd.DataFrame:
    source = np.random.default_rng(0)
    x = source.normal(1e6, 2, COUNT)
    return pd.DataFrame(
        {
            "group": source.choice(["u", "v"], COUNT),
            "x": x,
            "rate": source.beta(2, 3, COUNT).astype(np.float32),
            "n": source.poisson(3, COUNT).astype(np.int16),
            "flag": source.random(COUNT) < 0.3,
            "seen": pd.array(source.poisson(1, COUNT), dtype="Int64"),
        }
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return mixed()


@pytest.fixture(scope="module")
def holes(frame: pd.DataFrame) -> pd.DataFrame:
    holes = frame.copy()
    source = np.random.default_rng(1)
    for name in ("x", "rate", "seen"):
        holes.loc[source.random(COUNT) < 0.3, name] = None
    return holes


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> FlowDensity:
    return small(kinds={"rate": (0, 1)}, conditional_on=["group"]).fit(frame)


@pytest.fixture(scope="module")
def filling(holes: pd.DataFrame) -> FlowDensity:
    return small(kinds={2: (0, 1)}, conditional_on=["group"], missing="marginalise", steps=60).fit(
        holes
    )


@pytest.fixture(scope="module")
def rows() -> Any:
    return np.random.default_rng(0).normal([1e6, -3], [2, 0.1], (COUNT, 2))


@pytest.fixture(scope="module")
def plain(rows: Any) -> FlowDensity:
    return small().fit(rows)


# The contract of scikit-learn


def test_pipelines_grid_search_and_clones(rows: Any) -> None:
    pipeline = make_pipeline(StandardScaler(), small())
    assert np.isfinite(pipeline.fit(rows).score(rows))
    grid = {"flowdensity__transforms": [1, 2], "flowdensity__hidden_features": [(4,), (4, 4)]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(rows)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    again = clone(search.best_estimator_).fit(rows)
    assert again.score(rows) == pytest.approx(search.score(rows))


def test_pickle(plain: FlowDensity, rows: Any) -> None:
    again = pickle.loads(pickle.dumps(plain))
    np.testing.assert_array_equal(again.score_samples(rows), plain.score_samples(rows))


def test_parameters_stay_as_they_were_given() -> None:
    options = {"kinds": {0: (0, None)}, "conditional_on": ["b"], "hidden_features": [8, 8]}
    density = small(**options)
    assert {name: density.get_params()[name] for name in options} == options
    assert clone(density).get_params() == density.get_params()


def test_the_score_is_the_mean(plain: FlowDensity, rows: Any) -> None:
    assert plain.score(rows) == pytest.approx(plain.score_samples(rows).mean(), rel=1e-12)


def test_the_same_seed_gives_the_same_numbers(frame: pd.DataFrame, fitted: FlowDensity) -> None:
    again = clone(fitted).fit(frame)
    np.testing.assert_array_equal(again.score_samples(frame), fitted.score_samples(frame))
    assert again.curve_ == fitted.curve_
    given = {"group": "u"}
    drawn = fitted.sample(4, given=given, random_state=3)
    pd.testing.assert_frame_equal(again.sample(4, given=given, random_state=3), drawn)
    assert not fitted.sample(4, given=given, random_state=4).equals(drawn)
    other = clone(fitted).set_params(random_state=1).fit(frame)
    assert not np.array_equal(other.score_samples(frame), fitted.score_samples(frame))


def test_fitting_draws_no_global_numbers(rows: Any) -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = torch.rand(1), np.random.random()  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    small(missing="marginalise").fit(rows).impute(rows, random_state=0)
    assert (torch.rand(1), np.random.random()) == expected  # noqa: NPY002


# Tables in, tables out


def test_frames_give_frames(frame: pd.DataFrame, fitted: FlowDensity) -> None:
    given = frame[["group"]].iloc[[0, 3, 5]]
    drawn = fitted.sample(3, given=given, random_state=0)
    assert list(drawn.columns) == list(frame.columns)
    assert drawn.dtypes.tolist() == frame.dtypes.tolist()
    assert drawn["group"].tolist() == given["group"].tolist()
    assert ((drawn["rate"] > 0) & (drawn["rate"] < 1)).all()
    assert np.isfinite(fitted.score_samples(drawn)).all()
    assert fitted.feature_names_in_.tolist() == list(frame.columns)


def test_arrays_give_arrays(rows: Any, plain: FlowDensity) -> None:
    drawn = plain.sample(3, random_state=0)
    assert isinstance(drawn, np.ndarray)
    assert drawn.shape == (3, 2)
    assert drawn.dtype == rows.dtype
    assert not hasattr(plain, "feature_names_in_")
    whole = np.random.default_rng(0).integers(0, 9, (30, 2))
    assert small().fit(whole).sample(3).dtype == whole.dtype


def test_one_given_row_is_for_all_draws(fitted: FlowDensity) -> None:
    for given in ({"group": "v"}, pd.DataFrame({"group": ["v"]})):
        drawn = fitted.sample(5, given=given, random_state=0)
        assert drawn["group"].tolist() == ["v"] * 5
        assert len(drawn["x"].unique()) == 5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "given must hold 'group', got None"),
        ({"other": 1}, "given lacks the column 'group'"),
        ({"group": "w"}, "'group' holds the category 'w', which was not there in training"),
        ({"group": None}, "'group', which the density is conditional on, has no value in row 0"),
        (pd.DataFrame({"group": ["u", "v"]}), "given must have one row or 3, got 2"),
    ],
)
def test_bad_contexts(fitted: FlowDensity, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted.sample(3, given=given)


def test_context_where_there_is_none(plain: FlowDensity) -> None:
    with pytest.raises(ValueError, match="given must be None"):
        plain.sample(3, given={"x0": 1})


def test_context_by_number(rows: Any) -> None:
    density = small(conditional_on=[1]).fit(rows)
    drawn = density.sample(3, given={"x1": 5.0}, random_state=0)
    assert drawn[:, 1].tolist() == [5.0] * 3
    shifted = density.score_samples(rows + np.array([0, 1])) - density.score_samples(rows)
    assert np.abs(shifted).max() > 1e-3


def test_given_rows_as_a_mapping(fitted: FlowDensity) -> None:
    drawn = fitted.sample(3, given={"group": ["v", "u", "v"]}, random_state=0)
    assert drawn["group"].tolist() == ["v", "u", "v"]
    with pytest.raises(TypeError, match="given must be a DataFrame or a mapping, got list"):
        fitted.sample(3, given=["u", "v", "u"])


@pytest.mark.parametrize("n", [0, -1])
def test_no_draws_are_refused(plain: FlowDensity, n: int) -> None:
    with pytest.raises(ValueError, match="n_samples must be at least 1"):
        plain.sample(n)


# Gaps


def test_gaps_are_filled_and_the_rest_is_kept(holes: pd.DataFrame, filling: FlowDensity) -> None:
    filled = filling.sample_conditional(holes, 2, random_state=0)
    assert len(filled) == 2 * COUNT
    assert not filled.isna().any().any()
    assert filled.dtypes.tolist() == holes.dtypes.tolist()
    for part in (filled[:COUNT], filled[COUNT:]):
        for name in holes:
            there = holes[name].notna().to_numpy()
            assert part[name].to_numpy()[there].tolist() == holes[name].to_numpy()[there].tolist()
    gaps = holes["x"].isna().to_numpy()
    first, second = filled["x"].to_numpy()[:COUNT], filled["x"].to_numpy()[COUNT:]
    assert (first[gaps] != second[gaps]).mean() > 0.9
    pd.testing.assert_frame_equal(
        filling.impute(holes, random_state=0), filling.impute(holes, random_state=0)
    )


def test_a_whole_row_is_scored_alike_beside_gaps(
    frame: pd.DataFrame, holes: pd.DataFrame, filling: FlowDensity
) -> None:
    whole = holes.notna().all(axis=1).to_numpy()
    assert 0 < whole.sum() < COUNT
    np.testing.assert_allclose(
        filling.score_samples(holes)[whole], filling.score_samples(frame)[whole], rtol=1e-6
    )


def test_gaps_in_scored_rows_are_refused_by_name(
    frame: pd.DataFrame, fitted: FlowDensity, holes: pd.DataFrame
) -> None:
    first = int(np.flatnonzero(holes["x"].isna())[0])
    with pytest.raises(
        ValueError, match=rf"'x' has a missing value \(NaN\) in row {first}; a dens"
    ):
        fitted.score_samples(holes)
    with pytest.raises(ValueError, match=r"gaps can be filled only by .* missing='marginalise'"):
        fitted.impute(frame)


def test_arrays_with_gaps(rows: Any) -> None:
    holes = np.where(np.random.default_rng(0).random(rows.shape) < 0.2, NAN, rows)
    density = small(missing="marginalise", steps=30).fit(holes)
    filled = density.impute(holes, random_state=0)
    assert isinstance(filled, np.ndarray)
    assert np.isfinite(filled).all()
    with pytest.raises(ValueError, match=r"column 'x0' has \d+ missing value\(s\) \(NaN\)"):
        small().fit(holes)


def test_rough_draws_are_warned_of(filling: FlowDensity, holes: pd.DataFrame) -> None:
    far = holes.assign(x=1e6 + 1e5).head(3).assign(rate=NAN)
    with pytest.warns(UserWarning, match=r"of \d row\(s\) the draws are worth fewer than 10"):
        filling.impute(far, random_state=0)


# Training


def test_training_ends_where_nothing_is_gained(rows: Any) -> None:
    short = small(steps=2000, patience=2, learning_rate=0.05).fit(rows)
    steps = [step for step, _ in short.curve_]
    assert steps == list(range(50, 50 * (len(steps) + 1), 50))
    bounds = [bound for _, bound in short.curve_]
    assert len(bounds) < 40
    best = int(np.argmax(bounds))
    assert len(bounds) - 1 - best == 2
    assert short.reference_.mean() == pytest.approx(bounds[best], rel=1e-5)
    whole = small(steps=150, patience=0, learning_rate=0.05).fit(rows)
    assert [step for step, _ in whole.curve_] == [50, 100, 150]


def test_the_reference_is_sorted_and_set_aside(rows: Any) -> None:
    density = small(validation_fraction=0.25).fit(rows)
    assert density.reference_.shape == (50,)
    assert (np.diff(density.reference_) >= 0).all()
    scores = density.score_samples(rows)
    distances = np.abs(density.reference_[:, None] - scores).min(1)
    np.testing.assert_allclose(distances, 0, atol=1e-5)


@pytest.mark.parametrize(
    "flow",
    [
        "maf",
        "iaf",
        "nsf",
        "realnvp",
        "coupling-nsf",
        "gaussian",
        "naf",
        "umnn",
        "planar",
        "radial",
        "sylvester",
    ],
)
def test_flows_by_name(flow: str) -> None:
    rows = np.random.default_rng(0).multivariate_normal([0, 5], [[1, 0.8], [0.8, 1]], 100)
    density = FlowDensity(flow, steps=10, random_state=0, learning_rate=0.01).fit(rows)
    assert np.isfinite(density.score_samples(rows)).all()
    start = FlowDensity(flow, steps=1, learning_rate=1e-9, random_state=0).fit(rows)
    assert density.score(rows) > start.score(rows)
    assert density.sample(2, random_state=0).shape == (2, 2)


@pytest.mark.parametrize("flow", ["maf", "iaf", "nsf", "gaussian"])
@pytest.mark.parametrize("missing", ["refuse", "marginalise"])
def test_one_column(rows: Any, flow: str, missing: str) -> None:
    column = rows[:, :1].copy()
    if missing == "marginalise":
        column[3] = NAN
    density = FlowDensity(flow, steps=3, missing=missing, random_state=0).fit(column)
    assert np.isfinite(density.score_samples(column)).all()
    assert density.sample(2, random_state=0).shape == (2, 1)
    if missing == "marginalise":
        assert np.isfinite(density.impute(column, random_state=0)).all()


def test_couplings_need_two_columns(rows: Any) -> None:
    with pytest.raises(ValueError, match="features must be at least 2, got 1"):
        FlowDensity("realnvp").fit(rows[:, :1])


def test_two_rows_are_enough() -> None:
    density = small().fit([[1.5, 2.25], [0.5, 7.0]])
    assert np.isfinite(density.score([[1.0, 3.0]]))


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions(rows: Any, precision: str, tmp_path: Path) -> None:
    density = small(precision=precision).fit(rows)
    density.save(tmp_path)
    again = FlowDensity.load(tmp_path)
    dtype = torch.float64 if precision == "64-true" else torch.float32
    assert again.model_.flow.like.dtype == density.model_.flow.like.dtype == dtype
    np.testing.assert_array_equal(again.score_samples(rows), density.score_samples(rows))


def test_progress(rows: Any, capsys: pytest.CaptureFixture[str]) -> None:
    small(progress=True).fit(rows)
    assert "5/5" in capsys.readouterr().err


# Saving


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
    with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file"):
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


def test_tensors_that_do_not_fit(plain: FlowDensity, tmp_path: Path) -> None:
    plain.save(tmp_path)
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


# Errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"flow": "none"}, ValueError, r"flow must be one of .* got 'none'"),
        ({"flow": "mixture"}, ValueError, r"flow must be one of .* got 'mixture'"),
        ({"transforms": 0}, ValueError, "transforms must be at least 1"),
        ({"hidden_features": 8}, TypeError, "hidden_features must be a sequence"),
        ({"flow_options": {"depth": 1}}, TypeError, "depth"),
        ({"missing": "drop"}, ValueError, "missing must be one of"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"steps": 1.5}, TypeError, "steps must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be positive"),
        ({"learning_rate": NAN}, ValueError, "learning_rate must be positive"),
        ({"validation_fraction": 1}, ValueError, "validation_fraction must be between 0 and 1"),
        ({"validation_fraction": "a"}, TypeError, "validation_fraction must be a number"),
        ({"patience": -1}, ValueError, "patience"),
        ({"accelerator": "abacus"}, ValueError, "accelerator 'abacus' cannot be used"),
        ({"precision": "8-true"}, ValueError, "precision must be one of"),
        ({"random_state": "x"}, ValueError, "'x' cannot be used to seed"),
        ({"kinds": {"a": "integer"}}, ValueError, "kinds names the column 'a'"),
        ({"conditional_on": ["a"]}, ValueError, "conditional_on names the column 'a'"),
        ({"conditional_on": None}, TypeError, "conditional_on must name columns"),
        ({"learning_rate": 1e30, "steps": 50}, FloatingPointError, "density"),
    ],
)
def test_bad_arguments(rows: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small(**options).fit(rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="n"), "feature names should match .*\n?.*\n?.*n"),
        (lambda t: t.rename(columns={"n": "m"}), "(?s)feature names should match.*- m"),
        (lambda t: t.assign(more=1), "(?s)feature names should match.*- more"),
        (lambda t: t[t.columns[::-1]], "(?s)feature names should match.*same order"),
        (lambda t: t.head(0), "the table has no rows"),
        (lambda t: t.assign(x="text"), "column 'x' holds no numbers but values like 'text'"),
        (lambda t: t.assign(x=np.inf), "column 'x' holds inf in row 0"),
        (lambda t: t.assign(n=t["n"] + 0.5), "column 'n' held whole numbers in training"),
        (lambda t: t.assign(x=pd.Timestamp("2020-01-01")), "column 'x' holds no numbers"),
        (lambda t: t.assign(x=1j), "column 'x' is complex"),
        (lambda t: t.assign(group="w"), "column 'group' holds the category 'w'"),
        (lambda t: t.assign(group=1.5), r"column 'group' holds the category 1\.5"),
        (lambda t: pd.concat([t, t[["x"]]], axis=1), "two columns of the table are named 'x'"),
    ],
)
def test_bad_tables_at_scoring(
    frame: pd.DataFrame, fitted: FlowDensity, change: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fitted.score_samples(change(frame))


def test_bad_arrays_at_scoring(plain: FlowDensity) -> None:
    with pytest.raises(ValueError, match="3 features, but FlowDensity is expecting 2"):
        plain.score([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="column 'x1' holds inf in row 0"):
        plain.score([[1.0, np.inf]])


def test_beyond_bounds_and_far_away_the_density_is_zero(
    frame: pd.DataFrame, fitted: FlowDensity, plain: FlowDensity
) -> None:
    scores = fitted.score_samples(frame.head(3).assign(rate=[0.5, 1.0, -3.0]))
    assert np.isfinite(scores).tolist() == [True, False, False]
    assert (scores[1:] == -np.inf).all()
    far = plain.score_samples([[1e300, 0.0], [0.0, -1e20], [1e12, -1e12]])
    assert not np.isnan(far).any()
    assert (far < -1e6).all()


ROWS = np.random.default_rng(3).normal(size=(120, 2)) @ [[1.0, 0.4], [0.0, 2.0]]


def test_columns_go_by_place_where_a_table_has_no_names() -> None:
    frame = pd.DataFrame(ROWS, columns=["b", "a"])
    by_name = FlowDensity("gaussian", steps=20, random_state=0).fit(frame)
    by_place = FlowDensity("gaussian", steps=20, random_state=0).fit(ROWS)
    expected = by_name.score_samples(frame)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(by_name.score_samples(ROWS), expected)
    with pytest.warns(UserWarning, match="fitted without feature names"):
        assert np.array_equal(by_place.score_samples(frame), expected)
    assert isinstance(by_place.sample(2, random_state=0), np.ndarray)
    numbered = FlowDensity("gaussian", steps=20, random_state=0).fit(pd.DataFrame(ROWS))
    assert np.array_equal(numbered.score_samples(ROWS), expected)
    assert isinstance(numbered.sample(2, random_state=0), pd.DataFrame)


def test_given_by_number() -> None:
    density = FlowDensity("gaussian", conditional_on=[0], steps=20, random_state=0).fit(ROWS)
    drawn = density.sample(3, given={0: 0.5}, random_state=0)
    assert np.array_equal(drawn, density.sample(3, given={"x0": 0.5}, random_state=0))
    assert (drawn[:, 0] == 0.5).all()


def test_filled_rows_keep_their_index() -> None:
    frame = pd.DataFrame(ROWS[:60], columns=["a", "b"], index=np.arange(60) * 7 + 1000)
    frame.iloc[::4, 1] = np.nan
    density = FlowDensity("gaussian", missing="marginalise", steps=5, random_state=0).fit(frame)
    filled = density.impute(frame, random_state=0)
    assert filled.index.equals(frame.index)
    pd.testing.assert_frame_equal(frame.fillna(filled), filled)
    twice = density.sample_conditional(frame, 2, random_state=0)
    assert list(twice.index) == [*frame.index, *frame.index]


@pytest.mark.parametrize("column", ["far", "share"])
def test_mixed_precision_does_not_round_the_table(column: str) -> None:
    source = np.random.default_rng(0)
    table = {"far": 1e9 + source.normal(size=400), "share": 1 - 1e-9 * source.random(400)}
    rows = pd.DataFrame({column: table[column]})
    kinds = {"share": (0, 1)} if column == "share" else None
    scores = [
        FlowDensity("gaussian", steps=60, kinds=kinds, precision=precision, random_state=0)
        .fit(rows)
        .score(rows)
        for precision in ("32-true", "bf16-mixed")
    ]
    assert abs(scores[0] - scores[1]) < 0.1


def test_a_table_of_gaps_is_judged_as_far_as_it_goes() -> None:
    rows = np.random.default_rng(0).normal(size=(90, 3))
    rows[np.arange(90), np.arange(90) % 3] = np.nan
    density = FlowDensity("gaussian", missing="marginalise", steps=5, random_state=0).fit(rows)
    found = density.calibrate(rows, random_state=0)
    assert found.joint is None
    assert len(found.columns) == 3
