"""Results of several runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from invflow.report import comparison
from invflow.report.comparison import tables
from invflow.vae.run import Run
from tests.report import runs
from tests.report.runs import RESULT


def _run(path: Path, bound: float = -90.0, **settings: object) -> Run:
    likelihood = RESULT.log_likelihood + bound - RESULT.bound
    result = replace(RESULT, bound=bound, log_likelihood=likelihood)
    return runs.run(path, result=result, **settings)  # type: ignore[arg-type]


def test_results_have_a_row_for_each_posterior_of_each_run(tmp_path: Path) -> None:
    made = comparison.labelled([_run(tmp_path / "a"), _run(tmp_path / "b", -80.0, latents=2)])
    head, *rows = tables.results(made)
    assert [row[0] for row in rows] == ["a, diagonal", "a, iaf", "b, diagonal", "b, iaf"]
    assert rows[0][1:] == ("-90.00 ± 1.00", "-88.00 ± 0.90", "20.00", "15", "65 s")
    assert rows[2][1] == "-80.00 ± 1.00"
    assert len(head) == len(rows[0])


def test_bits_where_all_runs_have_them(tmp_path: Path) -> None:
    colours = {"channels": 3, "levels": 256}
    first, second = _run(tmp_path / "a", **colours), _run(tmp_path / "b", **colours)
    gaussian = _run(tmp_path / "c", likelihood="gaussian", **colours)
    assert "bits/dim" in tables.results({"a": first, "b": second})[0]
    assert "bits/dim" not in tables.results({"a": first, "c": gaussian})[0]


def test_mean_and_error_over_seeds(tmp_path: Path) -> None:
    made = {
        name: _run(tmp_path / name, bound, seed=seed)
        for name, bound, seed in (("a", -90.0, 0), ("b", -84.0, 1), ("c", -93.0, 5))
    }
    head, *rows = tables.seeds(made)
    assert head == ("posterior: runs", "seeds", "test bound", "log-likelihood", "KL")
    # Of -90, -84 and -93 the mean is -89 and the sum of squares around it 1 + 25 + 16; their
    # standard error is sqrt(42 / 2 / 3) = 2.65.
    numbers = ("3", "-89.00 ± 2.65", "-87.00 ± 2.65", "20.00 ± 0.00")
    assert rows == [("diagonal: a, b, c", *numbers), ("iaf: a, b, c", *numbers)]


def test_seeds_are_of_the_same_settings(tmp_path: Path) -> None:
    a = _run(tmp_path / "a", seed=0)
    others = {
        "settings": _run(tmp_path / "b", seed=1, latents=2),
        "likelihood": _run(tmp_path / "c", seed=1, likelihood="gaussian"),
        "seed": _run(tmp_path / "d", seed=0),
    }
    for name, other in others.items():
        assert tables.seeds({"a": a, name: other}) == []


def test_posteriors_beside_it_do_not_matter(tmp_path: Path) -> None:
    made = {
        "a": _run(tmp_path / "a", seed=0),
        "b": _run(tmp_path / "b", seed=1, posteriors=("iaf",), data="digits"),
    }
    _, *rows = tables.seeds(made)
    assert [row[0] for row in rows] == ["iaf: a, b"]


def test_settings_that_differ(tmp_path: Path) -> None:
    made = {
        "a": _run(tmp_path / "a"),
        "b": _run(tmp_path / "b", hidden_features=None, likelihood="bernoulli", steps=5),
    }
    assert tables.settings(made) == [
        ("setting", "a", "b"),
        ("likelihood", "logistic", "bernoulli"),
        ("hidden_features", "8", "default"),
        ("steps", "6000", "5"),
    ]
    assert tables.settings({"a": made["a"]}) == []


def test_labels(tmp_path: Path) -> None:
    a, b, c = (_run(tmp_path / name) for name in ("x/run", "y/run", "y/other"))
    assert list(comparison.labelled([a, c])) == ["run", "other"]
    assert list(comparison.labelled([a, b])) == [str(a.directory), str(b.directory)]
    with pytest.raises(ValueError, match=r"runs must differ, got .*x/run twice"):
        comparison.labelled([a, c, a])
    with pytest.raises(ValueError, match="got none"):
        comparison.labelled([])


@pytest.mark.parametrize("other", [{"digest": "b"}, {"channels": 3}, {"levels": 256}])
def test_other_images_are_not_compared(tmp_path: Path, other: dict[str, object]) -> None:
    a, b = _run(tmp_path / "a"), _run(tmp_path / "b", **other)
    with pytest.raises(ValueError, match=r"/a and .*/b are runs on different images"):
        comparison.labelled([a, b])
