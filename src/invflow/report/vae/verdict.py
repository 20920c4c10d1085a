"""What a VAE run has shown: which posterior is best, what is wrong, and what to change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from invflow._averages import mean_and_error
from invflow.report.page import Verdict
from invflow.report.ranking import CLEAR, Differences, ahead, clear, listed, text
from invflow.training import metrics
from invflow.vae.experiment import objective
from invflow.vae.run import Run
from invflow.vae.scores import ImageScores
from invflow.vae.shortfall import PARTS, shortfall

#: Nats by which log-likelihoods may be too low, and the fraction of their size, for large images.
SHORT, SHORT_FRACTION = 0.1, 1e-3
#: Nats that the validation bound may lose before a model is said to overfit, or gain in the last
#: third of the steps before more steps are advised.
TURNED, RISING = 0.3, 1.0
#: Fraction of the latents that are active, below which fewer would do.
FEW_ACTIVE = 0.5
#: Fraction of the steps that may be skipped.
SKIPPED = 0.01

LEVELS = ("good", "usable", "bad")
#: The measures in which posteriors are compared.
BOUND, LOG_LIKELIHOOD = "the bound", "the log-likelihood"


class Finding(NamedTuple):
    """A level, and a sentence."""

    level: str
    sentence: str


def verdict(run: Run) -> Verdict:
    """Return the verdict on a finished run, from what is in its directory alone."""
    first, *others = [
        *_comparison(run),
        *_samples(run),
        *_overfitting(run),
        *_latents(run),
        *_steps(run),
    ]
    level = max((each.level for each in (first, *others)), key=LEVELS.index)
    return Verdict(level, first.sentence, [each.sentence for each in others])


def difference(mine: ImageScores, others: ImageScores, clusters: Tensor) -> Differences:
    """Return by how much a posterior is above another, image by image, in nats.

    Args:
        mine: its scores.
        others: those of the other one.
        clusters: the number of each image's cluster, (images,).
    """
    return {
        BOUND: mean_and_error(mine.bound - others.bound, clusters),
        LOG_LIKELIHOOD: mean_and_error(mine.log_likelihood - others.log_likelihood, clusters),
    }


def _difference(run: Run, name: str, other: str) -> Differences:
    posteriors = run.scores.posteriors
    return difference(posteriors[name], posteriors[other], run.scores.clusters)


def _comparison(run: Run) -> Iterator[Finding]:
    """Yield which posterior is best, and by how much."""
    best, *others = _ranked(run)
    result = run.results[best]
    if not others:
        bound = f"{result.bound:.2f} ± {result.bound_error:.2f}"
        likelihood = f"{result.log_likelihood:.2f} ± {result.log_likelihood_error:.2f}"
        reached = f"a bound of {bound} and a log-likelihood of {likelihood} nats per image"
        yield Finding("good", f"{best} reaches {reached} on {units(run)}.")
        return
    found = {name: _difference(run, best, name) for name in others}
    if math.isnan(result.bound_error):
        yield Finding("usable", "More than one test image is needed to compare posteriors.")
        return
    unclear = [name for name, each in found.items() if not clear(each)]
    if unclear:
        yield Finding(
            "usable",
            f"No posterior is clearly the best. {best} has the highest log-likelihood, but is not "
            f"{CLEAR:g} standard errors ahead of {listed(unclear)} in both measures.",
        )
    else:
        second = others.pop(0)
        yield Finding(
            "good",
            f"{best} is the best posterior, {ahead(second, found[second])}.",
        )
    for name in others:
        yield Finding("good", f"{best} against {name}: {text(found[name])}.")
    yield Finding(
        "good", f"Differences are taken image by image, ± standard error over {units(run)}."
    )


def units(run: Run) -> str:
    """Return what errors are taken over."""
    images, clusters = len(run.scores.clusters), len(run.scores.clusters.unique())
    if clusters == images:
        return f"{images:,} test images"
    return f"{clusters:,} groups of {images:,} test images"


def _samples(run: Run) -> Iterator[Finding]:
    """Yield whether the importance samples suffice for the log-likelihoods."""
    count = run.config.importance_samples
    if count < max(PARTS):
        yield Finding(
            "usable",
            f"{count} importance samples are too few to tell by how much the log-likelihoods are "
            f"too low. Take --importance-samples {max(PARTS)} or more.",
        )
        return
    short = {
        name: shortfall(each.log_likelihood, each.fewer)
        for name, each in run.scores.posteriors.items()
    }
    worst = max(short.values())
    if worst <= tolerated(run):
        yield Finding(
            "good",
            f"{count} importance samples suffice: the log-likelihoods are too low by about "
            f"{max(worst, 0.01):.2f} nats at most.",
        )
        return
    known = [f"{nats:.2f} ({name})" for name, nats in short.items() if nats < math.inf]
    unknown = [f"an unknown amount ({name})" for name, nats in short.items() if nats == math.inf]
    yield Finding(
        "usable",
        f"{count} importance samples are few: the log-likelihoods are too low by about "
        f"{listed([*known, *unknown])} nats. {_corrected(run, short)}",
    )


def tolerated(run: Run) -> float:
    """Return by how many nats the log-likelihoods of a run may be too low."""
    size = max(abs(result.log_likelihood) for result in run.results.values())
    return max(SHORT, SHORT_FRACTION * size)


def _corrected(run: Run, short: Mapping[str, float]) -> str:
    """Return whether the best posterior is still the best when log-likelihoods are corrected."""
    more = f"--importance-samples {4 * run.config.importance_samples}"
    best, *others = _ranked(run)
    found = {name: _difference(run, best, name)[LOG_LIKELIHOOD] for name in others}
    corrected = {k: mean + short[best] - short[k] for k, (mean, _) in found.items()}
    known = max(short.values()) < math.inf
    if others and known and all(corrected[k] > CLEAR * error for k, (_, error) in found.items()):
        least = min(corrected.values())
        still = f"Corrected for this, {best} is still the best, by {least:.2f} nats"
        return f"{still}; {more} would be surer."
    return f"Do not rely on differences of this size: take {more}, or compare the bounds."


def _ranked(run: Run) -> list[str]:
    """Return the posteriors, that of the highest log-likelihood first."""
    return sorted(run.results, key=lambda name: -run.results[name].log_likelihood)


def _overfitting(run: Run) -> Iterator[Finding]:
    """Yield whether models are better on training images, or were better at an earlier step."""
    fine: list[str] = []
    # While the KL divergence weighs little, latents keep what is true of single images only.
    warmup = "--warmup 0, " if objective(run.config).warmup else ""
    regularise = (
        f"What helps: {warmup}more training images, a larger --weight-decay, smaller "
        "--hidden-features, or fewer --latents."
    )
    for name, each in run.scores.posteriors.items():
        gap, error = _gap(run, each)
        curve = _curve(run, name)
        best = min(curve, key=lambda row: row["loss"], default={"step": 0, "loss": math.nan})
        lost = curve[-1]["loss"] - best["loss"] if curve else 0.0
        seen = (
            f"its bound is {_signed(gap, error)} nats higher on training images than on test images"
        )
        overfits = gap > TURNED and gap > CLEAR * error
        if lost > TURNED:
            yield Finding(
                "usable",
                f"{name} overfits: on validation images it was best at step {best['step']:,} of "
                f"{run.config.steps:,}, {lost:.2f} nats above the last; the state of that step was "
                f"kept{f', and {seen}' if overfits else ''}. {regularise}",
            )
        elif overfits:
            yield Finding("usable", f"{name} overfits: {seen}. {regularise}")
        elif not math.isnan(error):
            fine.append(f"{_signed(gap, error)} ({name})")
    if fine:
        yield Finding(
            "good",
            "No sign of overfitting: the bound of training images less that of test images is "
            f"{listed(fine)} nats.",
        )


def _gap(run: Run, each: ImageScores) -> tuple[float, float]:
    """Return how far training images are above test images in the bound, and the error."""
    train, train_error = mean_and_error(each.train_bound)
    test, test_error = run.scores.mean_and_error(each.bound)
    return train - test, math.hypot(train_error, test_error)


def _latents(run: Run) -> Iterator[Finding]:
    """Yield whether latents have collapsed onto the prior."""
    if len(run.scores.clusters) < 2:  # no latent can vary
        return
    active = {name: result.active for name, result in run.results.items()}
    dead = [name for name, count in active.items() if not count]
    if dead:
        yield Finding(
            "bad",
            f"Posterior collapse: no latent of {listed(dead)} depends on the image. Take a longer "
            "--warmup, --free-bits 0.1 or a smaller --beta.",
        )
    latents = run.model().latents
    few = [f"{n} ({name})" for name, n in active.items() if 0 < n < FEW_ACTIVE * latents]
    if few:
        yield Finding(
            "good",
            f"Of {latents} latents, {listed(few)} are active: the posterior means of the others "
            "hardly depend on the image. Fewer --latents may do, or --free-bits 0.1 uses more.",
        )


def _steps(run: Run) -> Iterator[Finding]:
    """Yield whether more steps would help, and whether steps were lost."""
    rising: list[str] = []
    for name in run.models:
        curve = _curve(run, name)
        before = [row["loss"] for row in curve if row["step"] <= 2 / 3 * run.config.steps]
        if before and before[-1] - curve[-1]["loss"] > RISING:
            rising.append(f"{before[-1] - curve[-1]['loss']:.1f} ({name})")
    if rising:
        yield Finding(
            "good",
            f"In the last third of the steps the validation bound still rose, by {listed(rising)} "
            f"nats: more steps, such as --steps {2 * run.config.steps}, will give better models.",
        )
    for name in run.models:
        rows = _rows(run, name, "train")
        if rows and rows[-1]["skipped"] > SKIPPED * rows[-1]["step"]:
            yield Finding(
                "usable",
                f"{rows[-1]['skipped']:,} of {rows[-1]['step']:,} steps of {name} were skipped, as "
                "the loss or its gradient was not finite. Take a smaller --learning-rate.",
            )


def _curve(run: Run, name: str) -> list[metrics.Row]:
    """Return the evaluations of a model on validation images that are finite, step by step."""
    return [row for row in _rows(run, name, "validation") if math.isfinite(row["loss"])]


def _rows(run: Run, name: str, split: str) -> list[metrics.Row]:
    rows = metrics.read(run.directory)
    return [row for row in rows if row["model"] == name and row["split"] == split]


def _signed(mean: float, error: float) -> str:
    return f"{mean:+.2f} ± {error:.2f}"
