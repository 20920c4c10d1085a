"""Whether to trust a posterior that was learned from simulations, as text."""

from __future__ import annotations

from invflow.report.page import Verdict
from invflow.simulation.run import Judged, Results

#: The nominal probability whose expected coverage is told.
NOMINAL = 0.9
#: Expected coverage that is this far below the nominal one makes a posterior useless.
POOR = 0.15
#: Standard errors from which a coverage is wrong.
CLEAR = 3.0
#: Number of simulations below which finding nothing says little.
FEW = 100


def verdict(found: Results) -> Verdict:
    """Return whether to trust a posterior, what is wrong with it, and what to do."""
    points: list[str] = []
    levels = ["good"]
    if found.distance.is_far:
        levels += ["bad"]
    points += [f"{_sentence(str(found.distance))}"]
    what = "parameters" if found.verdict is None else "data"
    level, said = _judged(found.judged, what, "")
    levels, points = [*levels, level], [*points, *said]
    if found.near is not None:
        level, said = _judged(found.near, what, _NEAR[what])
        levels, points = [*levels, level], [*points, *said]
    if found.verdict is not None:
        levels, points = [*levels, found.verdict.level], [*points, *found.verdict.sentences]
        points += [f"{str(found.verdict).partition(chr(10))[0]}."]
    if found.dropped:
        points += [f"{found.dropped} simulations with missing or infinite numbers were left out."]
    level = max(levels, key=("good", "usable", "bad").index)
    return Verdict(level, _HEADLINES[level], [*points, *([] if level == "good" else [_REMEDY])])


def _judged(found: Judged, what: str, which: str) -> tuple[str, list[str]]:
    """Return what simulations say."""
    coverage, error = found.coverage[NOMINAL], found.coverage_error[NOMINAL]
    points = [
        f"Regions that should contain the {what} of {NOMINAL:.0%} of the simulations{which} "
        f"contain those of {coverage:.1%} ± {error:.1%}, judged by {found.simulations} simulations "
        "that were not learned from."
    ]
    level = "good"
    if found.rejected:
        level = "usable"
        points += [f"The ranks of {', '.join(found.rejected)} are not uniform among these."]
    if abs(coverage - NOMINAL) > CLEAR * error:
        level = "usable"
    if NOMINAL - coverage > max(POOR, CLEAR * error):
        level = "bad"
    if level == "good" and not which and found.simulations < FEW:
        level = "usable"
        points += ["These are few: flaws may have gone unnoticed."]
    return level, points


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


_NEAR = {
    "parameters": " that are most like the observed data",
    "data": " whose parameters are the most probable",
}
_HEADLINES = {
    "good": "No test finds anything wrong with the posterior.",
    "usable": "The posterior can be used, with the exceptions below.",
    "bad": "Do not use this posterior.",
}
_REMEDY = (
    "More simulations help most; so does an average over several flows (--ensemble), or "
    "simulations nearer to the observed data."
)
