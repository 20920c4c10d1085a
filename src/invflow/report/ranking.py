"""Which of several runs is ahead, by how much, and whether that is more than the error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev

from invflow.report.comparison import Outcome, grouped
from invflow.report.page import Verdict

#: Number of standard errors above which a difference is clear.
CLEAR = 3.0
#: Number of seeds below which the error over seeds is hardly known.
FEW_SEEDS = 3

#: By how much one is better than another, and the standard error of it, by measure.
Differences = Mapping[str, tuple[float, float]]


def leader(
    outcomes: Sequence[Outcome],
    better: Callable[[Outcome, Outcome], Differences],
    by: str,
    form: str = ".2f",
) -> Verdict | None:
    """Return what is ahead, and by how much; None where there is nothing to compare.

    Runs that differ only in their seeds are taken together.

    Args:
        outcomes: of all runs.
        better: returns by how much one outcome is better than another.
        by: the measure that ranks them.
        form: how to format the numbers.
    """
    groups = _named(outcomes)
    if len(groups) < 2:
        return None
    best, *rest = groups
    for name in rest:
        if _over_seeds(groups[name], groups[best], better)[by][0] > 0:
            best = name
    found = {k: _over_seeds(groups[best], each, better) for k, each in groups.items() if k != best}
    others = sorted(found, key=lambda name: found[name][by][0])
    if unclear := [name for name, each in found.items() if not clear(each)]:
        measures = listed(list(found[unclear[0]]))
        level, told = "unclear", others
        headline = (
            f"Nothing is clearly ahead. {best} comes first, but is not {CLEAR:g} standard errors "
            f"ahead of {listed(unclear)} in {measures}."
        )
    else:
        level, (second, *told) = "clear", others
        headline = f"{best} is {ahead(second, found[second], form)}."
    points = [f"{best} against {name}: {text(found[name], form)}." for name in told]
    return Verdict(level, headline, [*points, _about_seeds(groups)])


def clear(found: Differences) -> bool:
    """Return whether all differences are above zero by `CLEAR` standard errors."""
    return all(mean == math.inf or mean > CLEAR * error for mean, error in found.values())


def ahead(second: str, found: Differences, form: str = ".2f") -> str:
    """Return that something is ahead of what comes second, as text.

    Example:
        >>> ahead("full", {"the bound": (1.5, 0.25)})
        'ahead of full by 1.50 ± 0.25 in the bound (nats)'
    """
    return f"ahead of {second} by {text(found, form).replace('+', '')} (nats)"


def text(found: Differences, form: str = ".2f") -> str:
    """Return differences as text.

    Example:
        >>> text({"the bound": (1.5, 0.25), "the log-likelihood": (1.0, 0.2)})
        '+1.50 ± 0.25 in the bound and +1.00 ± 0.20 in the log-likelihood'
    """
    return listed([f"{m:+{form}} ± {e:{form}} in {name}" for name, (m, e) in found.items()])


def listed(names: Sequence[str]) -> str:
    """Return a list as text.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _named(outcomes: Sequence[Outcome]) -> dict[str, Mapping[int, Outcome]]:
    """Return the outcomes of runs that differ only in their seeds, by seed, under one name each."""
    groups = grouped(outcomes)
    # The parts of the same runs need no other name.
    alike = len({tuple(each.label for each in group.values()) for group in groups}) == 1
    named: dict[str, Mapping[int, Outcome]] = {}
    for group in groups:
        first = next(iter(group.values()))
        run = first.label if len(group) == 1 else f"{first.label} ({len(group)} seeds)"
        named[(first.name if alike else f"{first.name} of {run}") if first.name else run] = group
    return named


def _over_seeds(
    mine: Mapping[int, Outcome],
    others: Mapping[int, Outcome],
    better: Callable[[Outcome, Outcome], Differences],
) -> Differences:
    """Return differences averaged over the seeds that both have, or else of their first runs.

    The error has two parts, of which neither shrinks with the number of the other: that over what
    is scored, which is the same for all seeds, and that over seeds.
    """
    both = [(mine[seed], others[seed]) for seed in mine if seed in others]
    both = both or [(next(iter(mine.values())), next(iter(others.values())))]
    found = [better(a, b) for a, b in both]
    averaged: dict[str, tuple[float, float]] = {}
    for measure in found[0]:
        means, errors = zip(*(each[measure] for each in found), strict=True)
        scored = math.sqrt(fmean(error**2 for error in errors))
        seeds = _spread(means) / math.sqrt(len(means))
        averaged[measure] = (fmean(means), math.hypot(scored, seeds))
    return averaged


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation of values, zero for a single one."""
    if not all(map(math.isfinite, values)):
        return math.nan
    return stdev(values) if len(values) > 1 else 0.0


def _about_seeds(groups: Mapping[str, Mapping[int, Outcome]]) -> str:
    """Return what the errors cover."""
    seeds = [len(group) for group in groups.values()]
    if max(seeds) == 1:
        return "The errors do not cover what another seed would change."
    text = (
        "Runs that differ only in the seed are taken together: differences are averaged over the "
        "seeds in common, and the errors cover seeds too where there are several."
    )
    if min(seeds) < FEW_SEEDS:
        text += f" With fewer than {FEW_SEEDS} seeds, the error over seeds is hardly known."
    return text
