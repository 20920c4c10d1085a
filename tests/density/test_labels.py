"""Columns are called by their labels, whatever these are, and draws have them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invflow.density import FlowDensity
from invflow.density.table import Frame, Parquet, read
from tests.density.estimators import small

COUNT = 120
#: A share, a normal number and a positive one.
ROWS = np.column_stack(
    [
        np.random.default_rng(0).beta(2, 3, COUNT),
        np.random.default_rng(1).normal(5, 1, COUNT),
        np.random.default_rng(2).gamma(2, 1, COUNT),
    ]
)
LABELS: dict[str, Any] = {
    "from one": [1, 2, 3],
    "other order": [2, 0, 1],
    "numbers": [0.5, 1.5, 2.5],
    "tuples": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["u", None]),
    "lengths": ["a", ("a",), ("a", 1)],
    "times": pd.DatetimeIndex(["2020-10-24", "2020-10-26", "2020-10-25"]),
    "zone": pd.DatetimeIndex(["2020-10-24", "2020-10-25", "2020-10-26"], tz="Europe/Oslo"),
    "days": [datetime.date(2020, 1, day) for day in (1, 2, 3)],
    "truths": [False, True, "x"],
    "mixed": ["1", 1, "x1"],
    "numpy": [np.int64(3), np.str_("b"), np.float32(0.5)],
    "named": pd.Index([3, 4, 5], name="n"),
    "strings": ["c", "a", "b"],
}


def labelled(labels: Any) -> Any:
    frame = pd.DataFrame(ROWS)
    frame.columns = labels
    return frame


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_any_type(labels: Any, tmp_path: Path) -> None:
    frame = labelled(labels)
    first, second, _ = frame.columns
    density = small(kinds={first: (0, 1)}, conditional_on=[second]).fit(frame)
    bounded, _ = density.columns_.features
    assert (bounded.name, bounded.low, bounded.high) == (first, 0, 1)
    assert [column.name for column in density.columns_.context] == [second]
    drawn = density.sample(4, given={second: 5.5}, random_state=0)
    pd.testing.assert_index_equal(drawn.columns, frame.columns)
    assert drawn.iloc[:, 0].between(0, 1).all()
    assert (drawn.iloc[:, 1] == 5.5).all()
    density.save(tmp_path)
    again = FlowDensity.load(tmp_path)
    assert again.columns_ == density.columns_
    assert list(map(type, again.columns_.names)) == list(map(type, density.columns_.names))
    pd.testing.assert_frame_equal(again.sample(4, given={second: 5.5}, random_state=0), drawn)
    again.set_params(random_state=0).fit(frame)
    np.testing.assert_array_equal(again.score_samples(frame), density.score_samples(frame))


@pytest.fixture(scope="module")
def numbered() -> FlowDensity:
    """Of columns labelled 1, 2 and 3, of which the first and the last have bounds."""
    return small(kinds={1: (0, 1), 3: (0, None)}, conditional_on=2).fit(labelled([1, 2, 3]))


def test_a_number_is_a_label(numbered: FlowDensity) -> None:
    """`read_csv(header=None)` and `drop(columns=0)` leave such columns."""
    features = {column.name: (column.low, column.high) for column in numbered.columns_.features}
    assert features == {1: (0, 1), 3: (0, None)}
    assert [column.name for column in numbered.columns_.context] == [2]
    named = small(kinds={"a": (0, 1), "c": (0, None)}, conditional_on="b").fit(
        labelled(list("abc"))
    )
    np.testing.assert_array_equal(
        numbered.score_samples(labelled([1, 2, 3])), named.score_samples(labelled(list("abc")))
    )
    assert not hasattr(numbered, "feature_names_in_")


def test_scored_columns_are_found_by_label(numbered: FlowDensity) -> None:
    frame = labelled([1, 2, 3])
    scores = numbered.score_samples(frame)
    np.testing.assert_array_equal(numbered.score_samples(frame[[3, 1, 2]]), scores)
    np.testing.assert_array_equal(numbered.score_samples(Frame(frame[[2, 3, 1]])), scores)
    np.testing.assert_array_equal(numbered.score_samples(ROWS), scores)
    for change, message in {
        (1, 2): "the table does not have the column 3",
        (1, 2, 3, 4): "the table has the column 4, which the training table did not have",
        (0, 1, 2): "the table has the column 0, which the training table did not have",
        ("1", "2", "3"): "the table has the column '1', which the training table did not have",
    }.items():
        other = pd.DataFrame(np.resize(ROWS, (COUNT, len(change))), columns=pd.Index(list(change)))
        for table in (other, Frame(other)):
            with pytest.raises(ValueError, match=message):
                numbered.score_samples(table)


def test_given_columns_are_found_by_label(numbered: FlowDensity) -> None:
    frame = labelled([1, 2, 3])
    expected = numbered.sample(3, given={2: frame[2].head(3)}, random_state=0)
    for given in (frame[[2]].head(3), frame[[3, 2, 1]].head(3)):
        pd.testing.assert_frame_equal(numbered.sample(3, given=given, random_state=0), expected)
    with pytest.raises(ValueError, match=r"given names the column .2., .* its columns are 1, 2, 3"):
        numbered.sample(3, given={"2": 5.0})
    with pytest.raises(ValueError, match="given has the column 1, which the density is not"):
        numbered.sample(3, given={1: 0.5, 2: 5.0})


def test_checks_speak_of_labels(numbered: FlowDensity) -> None:
    frame = labelled([1, 2, 3])
    assert [found.name for found in numbered.calibrate(frame, 0).columns] == [1, 3]
    assert str(numbered.calibrate(frame, 0)).splitlines()[3].startswith("1 ")
    assert set(numbered.two_sample(frame, 0).columns) == {1, 2, 3}


def test_gaps_are_filled_by_label() -> None:
    frame = labelled([1, 2, 3]).astype({2: np.float32})
    frame.loc[::4, 3] = np.nan
    density = small(kinds={3: (0, None)}, missing="marginalise", steps=20).fit(frame)
    filled = density.impute(frame[[3, 2, 1]].set_axis(frame.index * 7), random_state=0)
    pd.testing.assert_index_equal(filled.columns, frame.columns)
    pd.testing.assert_index_equal(filled.index, frame.index * 7)
    assert filled.dtypes.tolist() == frame.dtypes.tolist()
    assert (filled[3] > 0).all()
    pd.testing.assert_frame_equal(filled[[1, 2]].reset_index(drop=True), frame[[1, 2]])


@pytest.mark.parametrize("key", [0, 4, -1, "1", 1.5, (1,), ("a", "b"), None, [1], np.nan])
def test_what_is_no_label_is_refused(key: Any) -> None:
    frame = labelled([1, 2, 3])
    with pytest.raises(
        ValueError, match=r"conditional_on names the column .* its columns are 1, 2"
    ):
        small(conditional_on=[key]).fit(frame)
    if not isinstance(key, list):
        with pytest.raises(ValueError, match=r"kinds names the column .* its columns are 1, 2, 3"):
            small(kinds={key: "continuous"}).fit(frame)


def test_where_all_labels_are_strings_a_number_is_a_place() -> None:
    """As of arrays, whose columns have no labels."""
    for table in (ROWS, labelled(["c", "b", "a"])):
        density = small(kinds={0: (0, 1), np.int64(2): (0, None)}, conditional_on=[1]).fit(table)
        assert [column.high for column in density.columns_.features] == [1, None]
    with pytest.raises(ValueError, match="kinds declares the column 'c' twice"):
        small(kinds={"c": (0, 1), 0: (0, 2)}).fit(labelled(["c", "b", "a"]))
    array = small(conditional_on=[1]).fit(ROWS)
    for places in ([2, 0, 1], [0, 1, 2]):
        np.testing.assert_array_equal(
            array.score_samples(pd.DataFrame(ROWS)[places]), array.score_samples(ROWS)
        )
    with pytest.warns(UserWarning, match="fitted without feature names"):
        np.testing.assert_array_equal(
            array.score_samples(labelled(["x0", "x1", "x2"])[["x2", "x0", "x1"]]),
            array.score_samples(ROWS),
        )
    with pytest.raises(ValueError, match="the table has the column 3, which the training"):
        array.score_samples(labelled([1, 2, 3]))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2, 1], "two columns of the table are named 1"),
        ([1, 2, 1.0], "two columns of the table are named 1"),
        ([("a", 1), ("a", 2), ("a", 1)], r"two columns of the table are named \('a', 1\)"),
        ([1, np.nan, 2], "column 2 of the table has no name"),
        (["a", "b", None], "column 3 of the table has no name"),
        (["a", " ", "b"], "column 2 of the table has no name"),
        ([("a", 1), ("a", np.nan), ("b", 1)], "column 2 of the table has no name"),
    ],
)
def test_labels_that_are_none(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().fit(labelled(labels))


def test_labels_that_cannot_be_saved(tmp_path: Path) -> None:
    density = small().fit(labelled(pd.period_range("2020", periods=3, freq="M")))
    with pytest.raises(
        ValueError, match=r"the column Period.* cannot be saved, .* a Period: rename"
    ):
        density.save(tmp_path / "run")
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize(
    "label", [None, [], {}, {"tuple": 3}, {"tuple": [None]}, {"time": "x", "unit": "s"}, {"a": 1}]
)
def test_saved_labels_are_not_believed(numbered: FlowDensity, tmp_path: Path, label: Any) -> None:
    numbered.save(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text())
    content["config"]["columns"]["names"][0] = label
    content["config"]["columns"]["features"][0]["name"] = label
    path.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match="does not fit a density of tables: not the columns of a table"
    ):
        FlowDensity.load(tmp_path)


def test_labels_of_files(tmp_path: Path) -> None:
    """Parquet keeps labels, and a run calls columns by their names in the file."""
    labelled([1, 2, 3]).to_parquet(tmp_path / "a.parquet", row_group_size=40)
    streamed = small(kinds={1: (0, 1)}).fit(Parquet(tmp_path / "a.parquet"))
    assert streamed.columns_.features[0].high == 1
    assert list(streamed.sample(2, random_state=0).columns) == [1, 2, 3]
    assert read(tmp_path / "a.parquet").names == ("1", "2", "3")
    assert list(read(tmp_path / "a.parquet").block(0)) == ["1", "2", "3"]
