"""Several VAE runs on the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from invflow.images.pixels import bits_per_dim
from invflow.report import figures, page, pictures
from invflow.report.comparison import (
    Comparison,
    Outcome,
    Table,
    compared,
    differing,
    labelled,
    over_seeds,
    paired,
)
from invflow.report.ranking import Differences, leader
from invflow.report.vae import table
from invflow.report.vae.curves import HEIGHT
from invflow.report.vae.images import COLUMNS, sampled
from invflow.report.vae.verdict import BOUND, LOG_LIKELIHOOD, difference, tolerated
from invflow.training import metrics
from invflow.vae.run import Result, Run
from invflow.vae.shortfall import shortfall


def compare(runs: Sequence[Run]) -> Comparison:
    """Return the comparison of finished runs.

    Raises:
        ImportError: if matplotlib or Jinja is not installed.
        ValueError: if `runs` is empty, a run is given twice, or they are of different kinds or on
            different images.
    """
    named = labelled(runs, _images, "images")
    bounds = lines(named)
    seen = [bound for line in bounds.values() for bound in line.values]
    return compared(
        title="invflow: comparison of VAE runs",
        lead=f"{', '.join(named)}; test images of {Path(runs[0].config.data).name}",
        verdict=ahead(named),
        measure=table.MEASURE,
        results=results(named),
        narrow=results(named, ["test bound", "log-likelihood", "time"]),
        text=_text(runs),
        seeds=seeds(named),
        settings=differing({label: _settings(run) for label, run in named.items()}),
        others=[
            page.Section(
                "Training",
                panels=figures.curves(bounds, HEIGHT, (figures.lowest(seen), None)),
                explore=figures.chart(bounds, HEIGHT),
                text="The bound on validation images against steps and against training time.",
            ),
            page.Section(
                "Samples",
                panels=samples(named),
                text="Images from each model, with latents drawn from the prior.",
            ),
        ],
    )


def results(runs: Mapping[str, Run], columns: Sequence[str] | None = None) -> Table:
    """Return a head, and a row for each posterior of each run.

    Args:
        runs: by label.
        columns: those wanted beside the gains; by default, all that apply to all runs.
    """
    if columns is None:
        bits = ["bits/dim"] * all(map(table.has_bits, runs.values()))
        columns = ["test bound", "log-likelihood", *bits, "KL", "active", "time"]
    rows = [
        (f"{label}, {name}", *gains(run, name, runs), *cells)
        for label, run in runs.items()
        for name, *cells in table.results(run, columns)[1:]
    ]
    return [("run, posterior", "gain in bound", "gain in log-likelihood", *columns), *rows]


def gains(run: Run, name: str, runs: Mapping[str, Run]) -> tuple[str, str]:
    """Return how far a posterior is above the first of all, image by image, as text.

    Empty for the first itself, and where the two measure in different units.

    Raises:
        ValueError: if the runs have scored different numbers of images.
    """
    first = next(iter(runs.values()))
    if len(run.scores.clusters) != len(first.scores.clusters):
        raise ValueError(
            f"{run.directory} and {first.directory} must have scores of the same test images, got "
            f"{len(run.scores.clusters)} and {len(first.scores.clusters)} of them"
        )
    mine, others = run.scores.posteriors[name], next(iter(first.scores.posteriors.values()))
    if mine is others or _unit(run) != _unit(first):
        return "", ""
    bound = paired(mine.bound, others.bound, run.scores.clusters)
    return bound, paired(mine.log_likelihood, others.log_likelihood, run.scores.clusters)


def _unit(run: Run) -> str:
    """Return what likelihoods are of: pixels that are bits, grey levels or real numbers."""
    named = {"bernoulli": "bits", "gaussian": "real numbers"}
    return named.get(run.format.likelihood, "grey levels")


def ahead(runs: Mapping[str, Run]) -> page.Verdict | None:
    """Return which posterior of which run is ahead; None if there is only one."""
    if len(set(map(_unit, runs.values()))) > 1:
        return page.Verdict("unclear", "Runs with different units have no ranking.", [_UNITS])
    alike = len({run.config.importance_samples for run in runs.values()}) == 1
    kept = (BOUND, LOG_LIKELIHOOD) if alike else (BOUND,)

    def better(mine: Outcome, others: Outcome) -> Differences:
        scores = runs[mine.label].scores
        other = runs[others.label].scores.posteriors[others.name]
        found = difference(scores.posteriors[mine.name], other, scores.clusters)
        return {measure: found[measure] for measure in kept}

    found = leader(outcomes(runs), better, kept[-1])
    short = _short(runs) if alike else []
    return found and found._replace(points=[*found.points, *_worth(runs), *short])


def _worth(runs: Mapping[str, Run]) -> list[str]:
    """Return what the classes can be worth, where not all runs are given them."""
    classes = {len(run.format.classes) for run in runs.values()}
    if len(classes) == 1:
        return []
    most = max(classes)
    return [
        "Conditional runs are given the class of each image, which by itself can be worth up to "
        f"log {most} = {math.log(most):.2f} nats."
    ]


def _short(runs: Mapping[str, Run]) -> list[str]:
    """Return by how much log-likelihoods are too low, where that matters."""
    found = {
        f"{name} of {label}": shortfall(each.log_likelihood, each.fewer)
        for label, run in runs.items()
        for name, each in run.scores.posteriors.items()
    }
    unknown = [name for name, nats in found.items() if not math.isfinite(nats)]
    name = unknown[0] if unknown else max(found, key=lambda name: found[name])
    if (nats := found[name]) <= max(map(tolerated, runs.values())):
        return []
    amount = f"about {nats:.2f} nats" if math.isfinite(nats) else "an unknown amount"
    return [
        f"For lack of importance samples, log-likelihoods are too low by up to {amount} ({name}): "
        "rely on the bound for differences below that."
    ]


def seeds(runs: Mapping[str, Run]) -> Table:
    """Return the averages over seeds of each posterior."""
    formats = {"test bound": ".2f", "log-likelihood": ".2f", "KL": ".2f"}
    if all(map(table.has_bits, runs.values())):
        formats["bits/dim"] = ".4f"
    firsts = {run.config.posteriors[0] for run in runs.values()}
    if len(firsts) == 1:
        above = _above(next(iter(runs.values())))
        formats |= {f"bound {above}": ".2f", f"log-likelihood {above}": ".2f"}
    return over_seeds(outcomes(runs), formats)


def outcomes(runs: Mapping[str, Run]) -> list[Outcome]:
    """Return what each posterior of each run reached."""
    return [
        Outcome(
            label,
            name,
            run.config.seed,
            # Posteriors trained side by side do not affect each other.
            {k: v for k, v in _settings(run).items() if k not in ("seed", "posteriors")},
            {
                "test bound": found.bound,
                "log-likelihood": found.log_likelihood,
                "KL": found.kl,
                "bits/dim": bits_per_dim(found.log_likelihood, run.model().pixels),
                f"bound {_above(run)}": found.bound - _first(run).bound,
                f"log-likelihood {_above(run)}": found.log_likelihood - _first(run).log_likelihood,
            },
        )
        for label, run in runs.items()
        for name, found in run.results.items()
    ]


def _first(run: Run) -> Result:
    return next(iter(run.results.values()))


def _above(run: Run) -> str:
    return f"above {run.config.posteriors[0]}"


def lines(runs: Mapping[str, Run]) -> dict[str, figures.Curve]:
    """Return the bounds on validation images, by run and posterior."""
    return {
        f"{label}, {name}": figures.evaluations(
            [row for row in metrics.read(run.directory) if row["model"] == name], "bound"
        )
        for label, run in runs.items()
        for name in run.models
    }


def samples(runs: Mapping[str, Run]) -> list[page.Panel]:
    """Draw a row of images from each model of each run, all from the same random numbers."""
    panels: list[page.Panel] = []
    for label, run in runs.items():
        for name in run.models:
            images = sampled(run, name, COLUMNS, torch.Generator().manual_seed(0))
            title, levels = f"{label}, {name}", run.format.levels
            alt = f"Images drawn from the model {title}."
            panels += [pictures.strip(title, pictures.grid(images, COLUMNS), levels, alt)]
    return panels


def _images(run: Run) -> object:
    return run.format.digest, run.format.shape, run.format.levels


def _settings(run: Run) -> dict[str, Any]:
    # With likelihood "auto", the one that was chosen.
    return run.config.model_dump() | {"likelihood": run.format.likelihood}


def _text(runs: Sequence[Run]) -> str:
    text = (
        "Nats per image on the same test images, ± standard error over images, or over groups of "
        "images that are not independent. A gain is the difference from the first row, computed "
        "image by image: images that are hard for one model are hard for others too, so its error "
        "is smaller than those of the two means. It does not cover what another seed would change: "
        "for that, train each model with several seeds. Time is training time."
    )
    draws = sorted({run.config.importance_samples for run in runs})
    if len(draws) > 1:
        text += (
            f" The log-likelihoods use {', '.join(map(str, draws))} importance samples; more "
            "samples give higher values, and higher gains. Compare bounds instead."
        )
    if len({bool(run.format.classes) for run in runs}) > 1:
        text += (
            " Conditional runs are given the class of each image, so that their bounds and "
            "likelihoods are those of images given their class."
        )
    likelihoods = sorted({run.format.likelihood for run in runs})
    if len(likelihoods) > 1:
        text += (
            f" The pixel likelihoods differ ({', '.join(likelihoods)}). {_UNITS} Gains are left "
            "out there."
        )
    return text


_UNITS = "Nats of binary pixels, of grey levels and of real numbers cannot be compared."
