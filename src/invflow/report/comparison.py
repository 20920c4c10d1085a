"""Runs of one kind side by side: tables for the terminal, and one page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Protocol, TypeVar

from torch import Tensor

from invflow._averages import mean_and_error
from invflow.report import page

#: A head, and rows.
Table = Sequence[tuple[str, ...]]


class Saved(Protocol):
    """A finished run."""

    @property
    def directory(self) -> Path:
        """Where it is."""
        ...


R = TypeVar("R", bound=Saved)


@dataclass(frozen=True)
class Comparison:
    """Several runs compared.

    Attributes:
        title: of the page.
        lead: the line below the title.
        verdict: what is ahead, and by how much; None where nothing is compared.
        tables: what a terminal shows, by title.
        sections: of the page.
    """

    title: str
    lead: str
    verdict: page.Verdict | None
    tables: Mapping[str, Table]
    sections: Sequence[page.Section]

    def write(self, path: Path) -> None:
        """Write the page.

        Raises:
            ImportError: if Jinja is not installed.
        """
        page.write(path, self.title, self.lead, self.sections, self.verdict)


@dataclass(frozen=True)
class Outcome:
    """What one run reached with one seed.

    Attributes:
        label: of the run.
        name: of the part of the run, such as a posterior; "" for the run itself.
        seed: of the run.
        settings: everything else that it depends on.
        values: by name.
    """

    label: str
    name: str
    seed: int
    settings: Mapping[str, Any]
    values: Mapping[str, float]


def labelled(runs: Sequence[R], subject: Callable[[R], object], what: str) -> dict[str, R]:
    """Return runs by the names of their directories, or by their paths where names repeat.

    Args:
        runs: finished runs.
        subject: returns what all runs must have in common.
        what: the plural noun for it.

    Raises:
        ValueError: if `runs` is empty, a run is given twice, or they are of different kinds or
            have different subjects.
    """
    if not runs:
        raise ValueError("runs must be one or more, got none")
    first, *others = runs
    for other in others:
        both = f"{first.directory} and {other.directory}"
        if type(other) is not type(first):
            raise ValueError(f"{both} are runs of different kinds and cannot be compared")
        if subject(other) != subject(first):
            raise ValueError(f"{both} are runs on different {what} and cannot be compared")
    paths = [run.directory.resolve() for run in runs]
    for i, path in enumerate(paths):
        if path in paths[:i]:
            raise ValueError(f"runs must differ, got {runs[i].directory} twice")
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        names = [str(run.directory) for run in runs]
    return dict(zip(names, runs, strict=True))


def compared(
    title: str,
    lead: str,
    verdict: page.Verdict | None,
    measure: str,
    results: Table,
    text: str,
    seeds: Table,
    settings: Table,
    others: Sequence[page.Section],
    narrow: Table = (),
) -> Comparison:
    """Return a comparison: results first, then means over seeds, differing settings and others.

    Args:
        title: of the page.
        lead: the line below the title.
        verdict: what is ahead.
        measure: title of the results in a terminal.
        results: a row for each run, or for each part of it.
        text: about the results.
        seeds: from `over_seeds`.
        settings: from `differing`.
        others: further sections.
        narrow: the results for a terminal, if they need fewer columns there.
    """
    sections = [page.Section("Results", table=results, text=text)]
    tables = {measure: narrow or results}
    if seeds:
        over = "Mean over seeds, ± standard error over seeds"
        tables[over] = seeds
        about = f"Runs whose settings differ only in the seed. {over}."
        sections += [page.Section("Averages over seeds", table=seeds, text=about)]
    if settings:
        sections += [page.Section("Settings that differ", table=settings)]
    return Comparison(title, lead, verdict, tables, [*sections, *others])


def over_seeds(outcomes: Sequence[Outcome], formats: Mapping[str, str]) -> Table:
    """Return means over runs that differ only in their seeds, ± standard errors over seeds.

    Args:
        outcomes: of all runs.
        formats: how to format the values, by name; others are left out.

    Returns:
        A head, and a row for everything tried with several seeds; empty if nothing was.
    """
    rows: list[tuple[str, ...]] = []
    for tried in grouped(outcomes):
        if len(tried) > 1:
            name = next(iter(tried.values())).name
            labels = ", ".join(each.label for each in tried.values())
            cells = [
                _mean([each.values[key] for each in tried.values()], form)
                for key, form in formats.items()
            ]
            rows += [(f"{name}: {labels}" if name else labels, str(len(tried)), *cells)]
    return [("runs", "seeds", *formats), *rows] if rows else []


def grouped(outcomes: Sequence[Outcome]) -> list[Mapping[int, Outcome]]:
    """Return outcomes by seed, those that differ only in the seed together."""
    groups: dict[tuple[str, str], dict[int, Outcome]] = {}
    for each in outcomes:
        # The same seed gives the same numbers, and counts once.
        groups.setdefault((each.name, repr(each.settings)), {}).setdefault(each.seed, each)
    return list(groups.values())


def paired(mine: Tensor, others: Tensor, clusters: Tensor | None = None, form: str = ".2f") -> str:
    """Return by how much scores are above others of the same images, rows or draws, as text.

    Args:
        mine: in nats, (count,).
        others: those to compare with, (count,).
        clusters: the number of each one's cluster, (count,); None if all are independent.
        form: how to format the numbers.

    Example:
        >>> import torch
        >>> paired(torch.tensor([-10.0, -90.0]), torch.tensor([-11.0, -92.0]))
        '+1.50 ± 0.50'
    """
    mean, error = mean_and_error(mine - others, clusters)
    return f"{mean:+{form}} ± {error:{form}}"


def differing(settings: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a head, and a row for each setting that is not the same in all runs.

    Args:
        settings: by run, each by name.
    """
    first = next(iter(settings.values()))
    rows = [
        (name, *(_text(each[name]) for each in settings.values()))
        for name in first
        if any(each[name] != first[name] for each in settings.values())
    ]
    return [("setting", *settings), *rows] if rows else []


def _mean(values: Sequence[float], form: str) -> str:
    error = stdev(values) / math.sqrt(len(values)) if all(map(math.isfinite, values)) else math.nan
    return f"{fmean(values):{form}} ± {error:{form}}"


def _text(value: Any) -> str:
    if value is None:
        return "default"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
