"""Several VAE runs on the same images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from invflow.report.figures import Curve
from invflow.report.vae.compare import ahead, compare, lines, results, samples, seeds
from invflow.vae.run import Run
from tests.report import runs
from tests.report.pages import headings, shown
from tests.report.runs import GREY, RESULT


def _run(path: Path, bound: float = -90.0, **settings: object) -> Run:
    likelihood = RESULT.log_likelihood + bound - RESULT.bound
    result = replace(RESULT, bound=bound, log_likelihood=likelihood)
    return runs.run(path, result=result, **settings)  # type: ignore[arg-type]


def _only(run: Run, name: str) -> Run:
    """Return a run without its other posteriors."""
    scores = replace(run.scores, posteriors={name: run.scores.posteriors[name]})
    config = run.config.model_copy(update={"posteriors": (name,)})
    return replace(run, config=config, results={name: run.results[name]}, scores=scores)


def test_results_have_a_row_for_each_posterior_of_each_run(tmp_path: Path) -> None:
    made = {"a": _run(tmp_path / "a"), "b": _run(tmp_path / "b", -80.0, latents=2)}
    head, *rows = results(made)
    assert [row[0] for row in rows] == ["a, diagonal", "a, iaf", "b, diagonal", "b, iaf"]
    assert rows[0][1:] == ("", "", "-90.00 ± 1.00", "-88.00 ± 0.90", "20.00", "15", "65 s")
    assert rows[2][3] == "-80.00 ± 1.00"
    assert len(head) == len(rows[0])


def test_gains_are_image_by_image(tmp_path: Path) -> None:
    made = {"a": _run(tmp_path / "a"), "b": _run(tmp_path / "b", -80.0, latents=2)}
    # On six images from -1 to 1, the iaf's bounds are around their mean by an eighth more.
    error = 0.125 * float(torch.linspace(-1, 1, 6).std()) / 6**0.5
    _, first, *rows = results(made)
    assert first[1:3] == ("", "")
    assert rows[0][1:3] == (f"+0.00 ± {error:.2f}", "+0.00 ± 0.00")
    assert rows[1][1:3] == ("+10.00 ± 0.00", "+10.00 ± 0.00")
    assert rows[2][1:3] == (f"+10.00 ± {error:.2f}", "+10.00 ± 0.00")


def test_gains_of_clusters(tmp_path: Path) -> None:
    run = _run(tmp_path / "a")
    clusters = torch.tensor([0, 0, 0, 1, 1, 1])
    run = replace(run, scores=replace(run.scores, clusters=clusters))
    # The means of the groups are -0.6 and 0.6, and by an eighth further apart for the iaf.
    mean, error = results({"a": run})[2][1].split(" ± ")
    assert (mean, float(error)) == ("+0.00", pytest.approx(0.6 / 8, abs=0.0051))


@pytest.mark.parametrize("other", ["bernoulli", "gaussian"])
def test_other_units_have_no_gain(tmp_path: Path, other: str) -> None:
    made = {"a": _run(tmp_path / "a"), "b": _run(tmp_path / "b", likelihood=other)}
    _, *rows = results(made)
    assert rows[1][1] != ""
    assert [row[1:3] for row in rows[2:]] == [("", "")] * 2


def test_scores_of_other_images(tmp_path: Path) -> None:
    made = {"a": _run(tmp_path / "a"), "b": _run(tmp_path / "b", test=GREY[:4])}
    with pytest.raises(ValueError, match="must have scores of the same test images, got 4 and 6"):
        results(made)


def test_bits_where_all_runs_have_them(tmp_path: Path) -> None:
    colours = {"channels": 3, "levels": 256}
    first, second = _run(tmp_path / "a", **colours), _run(tmp_path / "b", **colours)
    gaussian = _run(tmp_path / "c", likelihood="gaussian", **colours)
    assert "bits/dim" in results({"a": first, "b": second})[0]
    assert "bits/dim" not in results({"a": first, "c": gaussian})[0]


def test_mean_and_error_over_seeds(tmp_path: Path) -> None:
    made = {
        name: _run(tmp_path / name, bound, seed=seed)
        for name, bound, seed in (("a", -90.0, 0), ("b", -84.0, 1), ("c", -93.0, 5))
    }
    head, *rows = seeds(made)
    above = ("bound above diagonal", "log-likelihood above diagonal")
    assert head == ("runs", "seeds", "test bound", "log-likelihood", "KL", *above)
    # Of -90, -84 and -93 the mean is -89 and the sum of squares around it 1 + 25 + 16; their
    # standard error is sqrt(42 / 2 / 3) = 2.65.
    zeros = ("0.00 ± 0.00", "0.00 ± 0.00")
    numbers = ("3", "-89.00 ± 2.65", "-87.00 ± 2.65", "20.00 ± 0.00", *zeros)
    assert rows == [("diagonal: a, b, c", *numbers), ("iaf: a, b, c", *numbers)]


def test_differences_over_seeds(tmp_path: Path) -> None:
    """What both posteriors share with a seed drops out of their difference."""
    made: dict[str, Run] = {}
    for seed, (first, second) in enumerate([(-90.0, -89.0), (-70.0, -67.0)]):
        run = _run(tmp_path / str(seed), first, seed=seed)
        results = {**run.results, "iaf": replace(RESULT, bound=second, log_likelihood=second)}
        made[str(seed)] = replace(run, results=results)
    head, _, iaf = seeds(made)
    assert iaf[head.index("test bound")] == "-78.00 ± 11.00"
    assert iaf[head.index("bound above diagonal")] == "2.00 ± 1.00"


def test_seeds_with_other_first_posteriors(tmp_path: Path) -> None:
    made = {
        "a": _run(tmp_path / "a", seed=0),
        "b": _run(tmp_path / "b", seed=1, posteriors=("iaf",)),
    }
    assert seeds(made)[0] == ("runs", "seeds", "test bound", "log-likelihood", "KL")


def test_seeds_are_of_the_same_settings(tmp_path: Path) -> None:
    a = _run(tmp_path / "a", seed=0)
    others = {
        "settings": _run(tmp_path / "b", seed=1, latents=2),
        "likelihood": _run(tmp_path / "c", seed=1, likelihood="gaussian"),
        "seed": _run(tmp_path / "d", seed=0),
    }
    for name, other in others.items():
        assert seeds({"a": a, name: other}) == []


def test_posteriors_beside_it_do_not_matter(tmp_path: Path) -> None:
    made = {
        "a": _run(tmp_path / "a", seed=0),
        "b": _run(tmp_path / "b", seed=1, posteriors=("iaf",), data="digits"),
    }
    _, *rows = seeds(made)
    assert [row[0] for row in rows] == ["iaf: a, b"]


def test_what_is_ahead(tmp_path: Path) -> None:
    made = {"a": _run(tmp_path / "a"), "b": _run(tmp_path / "b", -80.0, latents=2)}
    found = ahead({"b": made["b"]})
    # Their log-likelihoods are the same.
    assert found is not None
    assert found.level == "unclear"
    single = {name: _only(run, "iaf") for name, run in made.items()}
    found = ahead(single)
    assert found is not None
    assert (found.level, found.headline) == (
        "clear",
        "iaf of b is ahead of iaf of a by 10.00 ± 0.00 in the bound and 10.00 ± 0.00 in the "
        "log-likelihood (nats).",
    )
    assert ahead({"a": single["a"]}) is None


def test_more_importance_samples_are_not_ahead(tmp_path: Path) -> None:
    """Log-likelihoods from other numbers of samples are left out of the verdict."""
    few = _only(_run(tmp_path / "a", importance_samples=50), "iaf")
    many = _only(_run(tmp_path / "b", -80.0, importance_samples=500), "iaf")
    found = ahead({"a": few, "b": many})
    assert found is not None
    assert found.headline == "iaf of b is ahead of iaf of a by 10.00 ± 0.00 in the bound (nats)."


def test_what_classes_are_worth(tmp_path: Path) -> None:
    plain = _only(_run(tmp_path / "a"), "iaf")
    given = _only(_run(tmp_path / "b", -80.0, classes=("x", "y", "z")), "iaf")
    found = ahead({"a": plain, "b": given})
    assert found is not None
    assert found.points[-1].endswith("can be worth up to log 3 = 1.10 nats.")


@pytest.mark.parametrize(
    ("fewer", "words"),
    [
        ((-0.05, -0.25), ""),
        ((-0.9, -2.7), "by up to about 0.90 nats (iaf of b): rely on the bound"),
        ((-1.0, -1.5), "by up to an unknown amount (iaf of b)"),
        (None, "by up to an unknown amount (iaf of b)"),
    ],
)
def test_too_few_importance_samples(tmp_path: Path, fewer: tuple[float, float], words: str) -> None:
    made = {
        "a": _only(_run(tmp_path / "a"), "iaf"),
        "b": _only(_run(tmp_path / "b", seed=1), "iaf"),
    }
    mine = made["b"].scores.posteriors["iaf"]
    known = torch.empty(0, len(mine.bound))
    if fewer is not None:
        known = mine.log_likelihood + torch.tensor(fewer)[:, None]
    posteriors = {"iaf": replace(mine, fewer=known)}
    made["b"] = replace(made["b"], scores=replace(made["b"].scores, posteriors=posteriors))
    made["c"] = _only(_run(tmp_path / "c", latents=2), "iaf")
    found = ahead(made)
    assert found is not None
    if words:
        assert words in found.points[-1]
    else:
        assert "importance" not in " ".join(found.points)


def test_other_units_are_not_ranked(tmp_path: Path) -> None:
    made = {"a": _run(tmp_path / "a"), "b": _run(tmp_path / "b", likelihood="bernoulli")}
    found = ahead(made)
    assert found is not None
    assert found.headline == "Runs with different units have no ranking."


def test_samples_have_a_line_for_each_model(tmp_path: Path) -> None:
    made = {"a": runs.run(tmp_path / "a"), "b": runs.run(tmp_path / "b", network="resnet-vae")}
    panels = samples(made)
    assert [panel.title for panel in panels] == ["a, diagonal", "a, iaf", "b, diagonal", "b, iaf"]
    for panel in panels:
        assert shown(panel).shape == (5, 6 * 20)


def test_bounds_over_steps_and_over_seconds(tmp_path: Path) -> None:
    made = {name: runs.run(tmp_path / name) for name in ("a", "b")}
    for run in made.values():
        runs.write(run)
    found = lines(made)
    assert list(found) == ["a, diagonal", "a, iaf", "b, diagonal", "b, iaf"]
    assert found["b, iaf"] == Curve([10, 20], [2.5, 5.0], [-98.0, -94.0])


def test_the_page(tmp_path: Path) -> None:
    made = [
        _run(tmp_path / "a", seed=0),
        _run(tmp_path / "b", -84.0, seed=1),
        _run(
            tmp_path / "c",
            seed=0,
            hidden_features=None,
            likelihood="bernoulli",
            importance_samples=9,
        ),
    ]
    for run in made:
        runs.write(run)
    found = compare(made)
    assert list(found.tables) == [
        "Test images, nats per image",
        "Mean over seeds, ± standard error over seeds",
    ]
    found.write(tmp_path / "compare.html")
    text = (tmp_path / "compare.html").read_text()
    assert headings(text) == [
        "Results",
        "Averages over seeds",
        "Settings that differ",
        "Training",
        "Samples",
    ]
    assert "The log-likelihoods use 9, " in text
    assert "The pixel likelihoods differ (bernoulli, logistic)" in text
    _, *settings = found.sections[2].table
    assert ("hidden_features", "8", "8", "default") in settings
    assert ("likelihood", "logistic", "logistic", "bernoulli") in settings


@pytest.mark.parametrize("other", [{"digest": "b"}, {"channels": 3}, {"levels": 256}])
def test_other_images_are_not_compared(tmp_path: Path, other: dict[str, object]) -> None:
    a, b = _run(tmp_path / "a"), _run(tmp_path / "b", **other)
    with pytest.raises(ValueError, match=r"/a and .*/b are runs on different images"):
        compare([a, b])
