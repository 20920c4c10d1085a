"""The verdict on a run: every sentence from scores for which it is true, and not from others."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from invflow.report.ranking import Differences
from invflow.report.vae import table
from invflow.report.vae.verdict import BOUND, LOG_LIKELIHOOD, difference, verdict
from invflow.training.metrics import FILE
from invflow.vae import run as saved
from invflow.vae.run import Run
from invflow.vae.scores import ImageScores, Scores
from tests.report import runs
from tests.report.runs import GREY, RESULT

IMAGES = 60
NOISE = torch.randn(IMAGES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
HEAD = "step,model,split,loss,seconds,rate,skipped,bound,kl\n"
GOOD = {"importance_samples": 500, "steps": 30}


def _scores(
    bound: float = -90.0,
    gain: float = 2.0,
    own: float = 0.5,
    train: float = 0.0,
    fewer: tuple[float, float] | None = (-0.02, -0.1),
) -> ImageScores:
    """Return scores: images differ a lot, posteriors on the same image little."""
    images = bound + 10 * NOISE + own * NOISE.flip(0)
    likelihood = images + gain
    rows = [likelihood + each for each in fewer or ()]
    return ImageScores(
        images,
        likelihood,
        torch.stack(rows) if rows else likelihood.new_zeros(0, IMAGES),
        images.repeat(4) + train,
    )


def _run(
    path: Path,
    clusters: Tensor | None = None,
    metrics: str = "",
    active: int = 15,
    posteriors: dict[str, ImageScores] | None = None,
    **settings: Any,
) -> Run:
    found = {"diagonal": _scores(), "iaf": _scores(-88.0)} if posteriors is None else posteriors
    clusters = torch.arange(IMAGES) if clusters is None else clusters
    test = GREY.repeat(10, 1, 1, 1)
    made = runs.run(
        path,
        posteriors=tuple(found),
        test=test,
        scores=Scores(found, clusters),
        **(GOOD | {"latents": 20} | settings),
    )
    results = {
        name: replace(
            RESULT,
            bound=float(each.bound.mean()),
            log_likelihood=float(each.log_likelihood.mean()),
            active=active,
        )
        for name, each in found.items()
    }
    path.mkdir(exist_ok=True)
    (path / FILE).write_text(HEAD + metrics)
    return replace(made, results=results)


def _difference(run: Run, name: str, other: str) -> Differences:
    posteriors = run.scores.posteriors
    return difference(posteriors[name], posteriors[other], run.scores.clusters)


def _text(run: Run) -> str:
    return "\n".join(verdict(run).lines)


def test_the_best_posterior(tmp_path: Path) -> None:
    """Images differ by 10 nats, but both posteriors have scored the same images."""
    found = verdict(_run(tmp_path, posteriors={"diagonal": _scores(), "iaf": _scores(-88.0, 1.5)}))
    # The same differences for every image: their errors are rounding.
    assert found.level == "good"
    assert found.headline == (
        "iaf is the best posterior, ahead of diagonal by 2.00 ± 0.00 in the bound and "
        "1.50 ± 0.00 in the log-likelihood (nats)."
    )
    assert found.points[0] == (
        "Differences are taken image by image, ± standard error over 60 test images."
    )


def test_differences_are_paired(tmp_path: Path) -> None:
    run = _run(tmp_path, posteriors={"full": _scores(own=0.0), "iaf": _scores(-89.9, own=1.0)})
    found = _difference(run, "iaf", "full")
    gains = 0.1 + NOISE.flip(0)
    expected = (float(gains.mean()), float(gains.std()) / math.sqrt(IMAGES))
    assert found[BOUND] == pytest.approx(expected)
    assert found[LOG_LIKELIHOOD] == pytest.approx(expected)
    assert _difference(run, "full", "iaf")[BOUND] == pytest.approx((-expected[0], expected[1]))


def test_errors_are_over_clusters(tmp_path: Path) -> None:
    posteriors = {"full": _scores(own=0.0), "iaf": _scores(-89.9, own=1.0)}
    clusters = torch.arange(IMAGES) // 10
    run = _run(tmp_path, clusters, posteriors=posteriors)
    means = NOISE.flip(0).reshape(6, 10).mean(1)
    error = float(means.std()) / math.sqrt(6)
    assert _difference(run, "iaf", "full")[BOUND][1] == pytest.approx(error)
    assert "over 6 groups of 60 test images" in _text(run)


def test_no_clear_winner(tmp_path: Path) -> None:
    posteriors = {
        "diagonal": _scores(-95.0),
        "full": _scores(own=0.0),
        "iaf": _scores(-89.9, own=2.0),
    }
    found = verdict(_run(tmp_path, posteriors=posteriors))
    assert found.level == "usable"
    best, other = ("iaf", "full") if (0.1 + 2 * NOISE).mean() > 0 else ("full", "iaf")
    assert found.headline == (
        f"No posterior is clearly the best. {best} has the highest log-likelihood, but is not 3 "
        f"standard errors ahead of {other} in both measures."
    )
    assert found.points[0].startswith(f"{best} against {other}: +")
    assert found.points[1].startswith(f"{best} against diagonal: +")


def test_ahead_in_one_measure_only(tmp_path: Path) -> None:
    posteriors = {"full": _scores(-88.0, gain=0.5), "iaf": _scores(-89.0, gain=3.0)}
    found = verdict(_run(tmp_path, posteriors=posteriors))
    assert found.level == "usable"
    assert found.points[0] == (
        "iaf against full: -1.00 ± 0.00 in the bound and +1.50 ± 0.00 in the log-likelihood."
    )


def test_one_posterior(tmp_path: Path) -> None:
    found = verdict(_run(tmp_path, posteriors={"iaf": _scores()}))
    assert found.level == "good"
    assert found.headline.startswith("iaf reaches a bound of ")
    assert found.headline.endswith("nats per image on 60 test images.")


def test_one_image(tmp_path: Path) -> None:
    result = replace(RESULT, bound_error=math.nan, active=0)
    found = verdict(runs.run(tmp_path, test=GREY[:1], result=result))
    assert found.level == "usable"
    assert found.headline == "More than one test image is needed to compare posteriors."
    assert "nan" not in "".join(found.points)
    assert "collapse" not in "".join(found.points)


@pytest.mark.parametrize(
    ("fewer", "samples", "level", "sentence"),
    [
        ((-0.02, -0.1), 500, "good", "500 importance samples suffice: the log-likelihoods are"),
        # A rise of 0.8, then of 0.4: 0.4 are left.
        ((-0.4, -1.2), 500, "usable", "too low by about 0.40 (diagonal) and 0.01 (iaf) nats."),
        # The iaf is ahead by 2, less the 0.39 nats by which the diagonal is short of more.
        ((-0.4, -1.2), 500, "usable", "Corrected for this, iaf is still the best, by 1.61 nats;"),
        ((-0.4, -1.2), 500, "usable", " nats; --importance-samples 2000 would be surer."),
        # A rise of 6, then of 3: 3 are left, more than the iaf is ahead.
        ((-3.0, -9.0), 500, "usable", "Do not rely on differences of this size: take --importance"),
        ((-0.4, -0.6), 500, "usable", "take --importance-samples 2000, or compare the bounds."),
        ((-0.4, -0.6), 500, "usable", "by about 0.01 (iaf) and an unknown amount (diagonal) nats"),
        (None, 15, "usable", "15 importance samples are too few to tell by how much"),
        (None, 15, "usable", "Take --importance-samples 16 or more."),
    ],
)
def test_importance_samples(
    tmp_path: Path,
    fewer: tuple[float, float] | None,
    samples: int,
    level: str,
    sentence: str,
) -> None:
    good = None if fewer is None else (-0.02, -0.08)
    posteriors = {"diagonal": _scores(fewer=fewer), "iaf": _scores(-88.0, fewer=good)}
    run = _run(tmp_path, posteriors=posteriors, importance_samples=samples)
    assert verdict(run).level == level
    assert sentence in _text(run)


def test_an_unknown_amount_corrects_nothing(tmp_path: Path) -> None:
    """The best posterior is the one whose log-likelihood is short of an unknown amount."""
    posteriors = {
        "diagonal": _scores(fewer=(-0.02, -0.08)),
        "iaf": _scores(-88.0, fewer=(-0.4, -0.6)),
    }
    text = _text(_run(tmp_path, posteriors=posteriors))
    assert "by about 0.01 (diagonal) and an unknown amount (iaf) nats. Do not rely on" in text
    assert "inf " not in text


def test_large_images_may_be_short_of_more(tmp_path: Path) -> None:
    posteriors = {"iaf": _scores(-7000.0, fewer=(-0.4, -1.2))}
    assert "500 importance samples suffice" in _text(_run(tmp_path, posteriors=posteriors))


def test_overfitting_seen_on_training_images(tmp_path: Path) -> None:
    posteriors = {"diagonal": _scores(train=9.0), "iaf": _scores(-88.0, train=1.0)}
    run = _run(tmp_path, posteriors=posteriors)
    assert verdict(run).level == "usable"
    text = _text(run)
    assert "diagonal overfits: its bound is +9.00 ± 1." in text
    assert (
        "higher on training images than on test images. What helps: --warmup 0, more training"
        in text
    )
    assert "No sign of overfitting: the bound of training images less that of test images" in text
    assert "+1.00 ± 1." in text
    assert "iaf overfits" not in text
    at_once = _text(_run(tmp_path, posteriors=posteriors, warmup=0))
    assert "What helps: more training" in at_once


CURVE = """10,iaf,validation,{},,,,-90,3
20,iaf,validation,{},,,,-89,3
30,iaf,validation,{},,,,-89,3
"""


@pytest.mark.parametrize(
    ("losses", "turned"), [((90, 88, 89.5), True), ((90, 88, 88.2), False), ((90, 88, 80), False)]
)
def test_overfitting_seen_on_validation_images(
    tmp_path: Path, losses: tuple[float, ...], turned: bool
) -> None:
    run = _run(tmp_path, metrics=CURVE.format(*losses))
    found = _text(run)
    sentence = (
        "iaf overfits: on validation images it was best at step 20 of 30, 1.50 nats above the "
        "last; the state of that step was kept. What helps"
    )
    assert (sentence in found) == turned
    assert verdict(run).level == ("usable" if turned else "good")
    assert "diagonal overfits" not in found
    if turned:
        both = _run(tmp_path, metrics=CURVE.format(*losses), posteriors={"iaf": _scores(train=9.0)})
        assert "step was kept, and its bound is +9.00 ± 1." in _text(both)


@pytest.mark.parametrize(
    ("losses", "rise"), [((90, 88, 86.5), "1.5"), ((90, 88, 87.5), ""), ((90, "nan", 87.5), "2.5")]
)
def test_more_steps(tmp_path: Path, losses: tuple[object, ...], rise: str) -> None:
    found = _text(_run(tmp_path, metrics=CURVE.format(*losses)))
    sentence = (
        f"the validation bound still rose, by {rise} (iaf) nats: more steps, such as --steps 60"
    )
    assert (sentence in found) == bool(rise)


@pytest.mark.parametrize(("skipped", "told"), [(2, True), (0, False)])
def test_skipped_steps(tmp_path: Path, skipped: int, told: bool) -> None:
    run = _run(tmp_path, metrics=f"30,iaf,train,99.0,2.5,400.0,{skipped},,\n")
    sentence = "2 of 30 steps of iaf were skipped, as the loss or its gradient was not finite."
    assert (sentence in _text(run)) == told
    assert verdict(run).level == ("usable" if told else "good")


@pytest.mark.parametrize(
    ("active", "level", "sentence"),
    [
        (0, "bad", "Posterior collapse: no latent of diagonal and iaf depends on the image."),
        (9, "good", "Of 20 latents, 9 (diagonal) and 9 (iaf) are active: the"),
        (10, "good", ""),
    ],
)
def test_latents(tmp_path: Path, active: int, level: str, sentence: str) -> None:
    run = _run(tmp_path, active=active)
    assert verdict(run).level == level
    assert sentence in _text(run)
    if not sentence:
        assert "active" not in _text(run)


def test_a_loaded_run_has_the_same_verdict(tmp_path: Path) -> None:
    posteriors = {"diagonal": _scores(train=9.0), "iaf": _scores(-88.0, fewer=(-0.4, -1.2))}
    made = _run(tmp_path / "a", torch.arange(IMAGES) // 7, posteriors=posteriors)
    (tmp_path / "a" / FILE).unlink()
    (tmp_path / "a").rmdir()
    loaded = saved.load(runs.write(made))
    (made.directory / FILE).write_text(runs.METRICS)
    assert verdict(loaded) == verdict(made)
    assert len(verdict(made).points) > 4


def test_the_terminal_shows_it(tmp_path: Path) -> None:
    run = _run(tmp_path)
    assert table.brief(run).notes == verdict(run).lines
