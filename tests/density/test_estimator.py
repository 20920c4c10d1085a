"""The scikit-learn estimator: its contract, mixed tables, saving, and what it refuses."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from invflow.density import FlowDensity
from invflow.training import compiling, progress
from tests.density.estimators import COUNT, small
from tests.helpers import fast

NAN = np.nan


# Some checks fit a grid of a few values.
@pytest.mark.filterwarnings("ignore:column .* is treated as continuous")
@parametrize_with_checks([FlowDensity("maf", steps=5, transforms=1, hidden_features=(8,))])
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


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


def test_what_needs_a_fitted_density_says_so(rows: Any, tmp_path: Path) -> None:
    arguments = {"sample": [], "save": [tmp_path / "run"], "probabilities": [rows, 0]}
    own = [kind for kind in FlowDensity.__mro__ if kind.__module__.startswith("invflow")]
    public = {name for kind in own for name in vars(kind) if not name.startswith("_")}
    asked = [name for name in public if name not in ("fit", "learn", "load")]
    assert {"score_samples", "score", "anomaly_scores", "two_sample", *arguments} <= {*asked}
    for name in asked:
        with pytest.raises(NotFittedError, match="FlowDensity instance is not fitted yet"):
            getattr(small(), name)(*arguments.get(name, [rows]))
    assert not (tmp_path / "run").exists()


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


def test_numpys_numbers_are_numbers(rows: Any, tmp_path: Path) -> None:
    given: Any = {
        "transforms": np.int64(1),
        "hidden_features": np.array([8, 4]),
        "flow_options": {"checkpoint": False},
        "steps": np.int32(5),
        "batch_size": np.uint8(50),
        "learning_rate": np.float32(0.01),
        "validation_fraction": np.float32(0.25),
        "patience": np.int64(3),
        "conditional_on": np.int64(0),
        "kinds": {np.int64(1): (np.float32(-5), np.int8(0))},
        "random_state": np.int64(0),
    }
    density = FlowDensity("maf", **given).fit(rows)
    assert density.get_params()["steps"] is given["steps"]
    own: Any = {**given, "transforms": 1, "hidden_features": [8, 4], "steps": 5, "batch_size": 50}
    own |= {"learning_rate": float(np.float32(0.01)), "validation_fraction": 0.25, "patience": 3}
    own |= {"conditional_on": [0], "kinds": {1: (-5, 0)}, "random_state": 0}
    other = FlowDensity("maf", **own).fit(rows)
    np.testing.assert_array_equal(density.score_samples(rows), other.score_samples(rows))
    context = {"x0": 1e6}
    np.testing.assert_array_equal(
        density.sample(np.int64(3), given=context, random_state=np.int32(1)),
        other.sample(3, given=context, random_state=1),
    )
    density.save(tmp_path)
    again = FlowDensity.load(tmp_path)
    np.testing.assert_array_equal(again.score_samples(rows), density.score_samples(rows))
    assert again.get_params()["hidden_features"] == [8, 4]


def test_numpys_numbers_of_draws_given_gaps(holes: pd.DataFrame, filling: FlowDensity) -> None:
    filled = filling.sample_conditional(holes.head(2), np.int16(3), random_state=np.uint32(1))
    assert len(filled) == 6


@pytest.mark.parametrize("n", [True, np.True_, 2.0, np.float64(2)])
def test_what_is_no_number_of_draws(plain: FlowDensity, n: Any) -> None:
    with pytest.raises(TypeError, match="n_samples must be an integer, got"):
        plain.sample(n)


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
        ValueError, match=rf"'x' has a missing value \(NaN\) in row {first}; fill it in"
    ):
        fitted.score_samples(holes)
    with pytest.raises(ValueError, match=r"can be filled only by .* missing set to marginalise"):
        fitted.impute(frame)


def test_any_columns_are_drawn_given_any_others(rows: Any) -> None:
    """Learned from a table without gaps."""
    density = small(missing="marginalise").fit(rows)
    for kept in (0, 1):
        asked = rows[:4].copy()
        asked[:, 1 - kept] = NAN
        drawn = density.sample_conditional(asked, 2, random_state=0)
        assert np.array_equal(drawn[:, kept], np.tile(rows[:4, kept], 2))
        assert len(np.unique(drawn[:, 1 - kept])) == 8


def test_arrays_with_gaps(rows: Any) -> None:
    holes = np.where(np.random.default_rng(0).random(rows.shape) < 0.2, NAN, rows)
    density = small(missing="marginalise", steps=30).fit(holes)
    filled = density.impute(holes, random_state=0)
    assert isinstance(filled, np.ndarray)
    assert np.isfinite(filled).all()
    some = np.stack([holes[0], [NAN, NAN], holes[1]])
    assert density.score_samples(some)[1] == 0  # the integral of the density over all rows is one
    np.testing.assert_array_equal(
        density.score_samples(some)[::2], density.score_samples(holes[:2])
    )
    with pytest.raises(ValueError, match=r"column 'x0' has \d+ missing value\(s\) \(NaN\)"):
        small().fit(holes)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_masked_values_are_missing(rows: Any, dtype: Any) -> None:
    mask = np.random.default_rng(0).random(rows.shape) < 0.2
    masked = np.ma.masked_array((10 * rows).astype(dtype), mask)
    holes = np.where(mask, NAN, masked.data)
    density = small(missing="marginalise").fit(masked)
    np.testing.assert_array_equal(density.score_samples(masked), density.score_samples(holes))
    with pytest.raises(ValueError, match=rf"column 'x0' has {mask[:, 0].sum()} missing value"):
        small().fit(masked)


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4"])
def test_arrays_of_the_other_byte_order(rows: Any, dtype: str) -> None:
    values = (10 * rows).astype(dtype)
    native = values.astype(values.dtype.newbyteorder("="))
    density = small().fit(values)
    expected = small().fit(native).score_samples(native)
    np.testing.assert_array_equal(density.score_samples(values), expected)


def test_rough_draws_are_warned_of(filling: FlowDensity, holes: pd.DataFrame) -> None:
    far = holes.assign(x=1e6 + 1e5).head(3).assign(rate=NAN)
    with pytest.warns(UserWarning, match=r"for \d row\(s\) the effective number .* below 10"):
        filling.impute(far, random_state=0)


# Training


def test_training_ends_where_nothing_is_gained(rows: Any) -> None:
    short = small(steps=2000, patience=2, learning_rate=0.05).fit(rows)
    steps = [step for step, _ in short.curve_]
    assert steps == list(range(10, 10 * (len(steps) + 1), 10))
    bounds = [bound for _, bound in short.curve_]
    assert len(bounds) < 200
    best = int(np.argmax(bounds))
    assert len(bounds) - 1 - best == 2
    assert short.reference_.mean() == pytest.approx(bounds[best], rel=1e-5)
    whole = small(steps=150, patience=0, learning_rate=0.05).fit(rows)
    assert [step for step, _ in whole.curve_] == list(range(10, 160, 10))


def test_the_reference_is_sorted_and_set_aside(rows: Any) -> None:
    density = small(validation_fraction=0.25).fit(rows)
    assert density.reference_.shape == (50,)
    assert (np.diff(density.reference_) >= 0).all()
    scores = density.score_samples(rows)
    distances = np.abs(density.reference_[:, None] - scores).min(1)
    np.testing.assert_allclose(distances, 0, atol=1e-5)


FLOWS = ["maf", "iaf", "nsf", "realnvp", "coupling-nsf", "gaussian", "naf", "umnn", "planar"]
FLOWS += ["radial", "sylvester"]


@pytest.mark.parametrize("flow", fast(["maf", "nsf", "gaussian", "radial"], FLOWS))
def test_flows_by_name(flow: str) -> None:
    rows = np.random.default_rng(0).multivariate_normal([0, 5], [[1, 0.8], [0.8, 1]], 100)
    density = FlowDensity(flow, steps=10, random_state=0, learning_rate=0.003).fit(rows)
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


@pytest.mark.parametrize("flow", ["realnvp", "coupling-nsf"])
def test_couplings_need_two_columns(rows: Any, flow: str) -> None:
    message = "features must be at least 2 for a coupling, .* use an autoregressive flow, such as"
    with pytest.raises(ValueError, match=message) as caught:
        FlowDensity(flow).fit(rows[:, :1])
    # What is said to do instead can be done.
    for other in ("nsf", "maf"):
        assert repr(other) in str(caught.value)
        FlowDensity(other, steps=2, random_state=0).fit(rows[:, :1])


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


def test_progress(
    rows: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 1e-9)
    small(progress=True).fit(rows)
    assert "5/5" in capsys.readouterr().err


def _found(device: str) -> bool:
    return True


def test_compiled(rows: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The graphs run as they are: generating code for them takes its time."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(compiling, "has_compiler", _found)
    lines: dict[bool, str] = {}

    def learn(choice: bool) -> FlowDensity:
        def report(step: int, line: str) -> None:
            lines.setdefault(choice, line)

        options = {"flow": "coupling-nsf", "steps": 20, "compile": choice}
        return small(**options).learn(rows, report=report)

    found, plain = learn(True), learn(False)
    assert lines == {True: "compiling for 20 steps", False: ""}
    scores = plain.score_samples(rows)
    np.testing.assert_allclose(found.score_samples(rows), scores, rtol=1e-4, atol=1e-4)
    # The result is like any other.
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.score_samples(rows), found.score_samples(rows))
    found.save(tmp_path)
    assert FlowDensity.load(tmp_path).compile is True


def test_what_runs_in_kernels_is_not_compiled(rows: Any) -> None:
    lines: list[str] = []
    with pytest.warns(UserWarning, match="compile=True has no effect: this flow runs in kernels"):
        found = small(flow="nsf", steps=3, compile=True).learn(
            rows, report=lambda step, line: lines.append(line)
        )
    assert lines[0] == ""
    plain = small(flow="nsf", steps=3).fit(rows)
    np.testing.assert_array_equal(found.score_samples(rows), plain.score_samples(rows))


# Errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"flow": "none"}, ValueError, r"flow must be one of .* got 'none'"),
        ({"flow": "mixture"}, ValueError, r"flow must be one of .* got 'mixture'"),
        ({"transforms": 0}, ValueError, "transforms must be at least 1"),
        ({"hidden_features": 8}, TypeError, "hidden_features must be a sequence"),
        (
            {"flow_options": {"depth": 1}},
            TypeError,
            "the flow 'maf' does not take 'depth'; leave it out of flow_options",
        ),
        (
            {"flow": "gaussian"},
            TypeError,
            "the flow 'gaussian' does not take '(transforms|hidden_features)'; leave it out$",
        ),
        (
            {"flow_options": {"base": {"name": "student-t", "wide": 1}}},
            TypeError,
            "unexpected keyword argument 'wide'",
        ),
        ({"flow_options": {"features": 3}}, ValueError, "flow_options must not contain 'features'"),
        ({"flow_options": {"name": "nsf"}}, ValueError, "flow_options must not contain 'name'"),
        ({"missing": "drop"}, ValueError, "missing must be one of"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"steps": 1.5}, TypeError, "steps must be an integer"),
        ({"steps": np.float64(5)}, TypeError, "steps must be an integer"),
        ({"steps": True}, TypeError, "steps must be an integer, got True"),
        ({"batch_size": np.True_}, TypeError, "batch_size must be an integer"),
        ({"steps": np.int64(0)}, ValueError, "steps must be at least 1, got 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be positive"),
        ({"learning_rate": NAN}, ValueError, "learning_rate must be positive"),
        ({"validation_fraction": 1}, ValueError, "validation_fraction must be between 0 and 1"),
        ({"validation_fraction": "a"}, TypeError, "validation_fraction must be a number"),
        ({"patience": -1}, ValueError, "patience"),
        ({"accelerator": "abacus"}, ValueError, "accelerator 'abacus' cannot be used"),
        ({"precision": "8-true"}, ValueError, "precision must be one of"),
        ({"compile": "maybe"}, TypeError, "compile must be True or False, got 'maybe'"),
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
