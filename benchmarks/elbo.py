"""Seconds to a bound on the evidence, beside NumPyro's AutoIAFNormal.

Eight schools (non-centred) and diamonds, in double precision. Levels are nats below the log
evidence, which importance weights of 40,000 draws of `vi.fit` gave. Fits:

- vi.fit: with default settings, stopped as by Ctrl-C after 0, 1, 2, ... rounds of training, each
time
  from scratch: its seconds include the search for a start, and everything else that takes time;
- vi.fit, whole: the same, until it stops by itself;
- invflow: its IAF, trained by Adam on the bound, with the sizes, the rate and the draws in a step
  of NumPyro's, from a standard normal;
- numpyro: AutoIAFNormal as it is by default (3 transforms, two hidden layers of D, ELU), steps of
  SVI compiled together, by Adam with the rate that stands in its name and 64 draws in a step.

Every 50 steps, which is `vi.fit`'s round, and later every twentieth of the steps so far, the bound
is measured on 10,000 draws with the log density of `posteriordb`, the same function for all; the
clock is stopped meanwhile. A level is reached when the bound reaches it and stays there. Fits
continue until they have stayed at the highest level for ten checks, or until the time is over, not
counting compilation. The script verifies that NumPyro's log density is the same number.

Each fit has a process of its own, on as many processors as threads; the fits take turns seed by
seed. Times are medians over seeds, compilation included ("compiling" says how much of it there is;
only NumPyro compiles). "ratio" is the time to the highest level over that of vi.fit, and behind it
the same without compiling. "ended" is where the measurement did, and how many nats short of the
evidence; inf is a fit with draws that are not finite.

    python benchmarks/elbo.py --data FOLDER [--quick] [--only NAME] [--seeds 3] [--seconds 120]
                              [--threads N]

pip install numpyro; without it the rest is measured.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import posteriordb
import torch
from directions import environment, table, version
from torch import Tensor

import invflow
from invflow import vi

#: Log evidence, in nats.
EVIDENCE = {
    "eight_schools-eight_schools_noncentered": -31.311,
    "diamonds-diamonds": 3190.597,
}
#: Nats below it.
LEVELS = (10.0, 1.0, 0.1)
STEPS, CHECK, SETTLED = vi.Settings().steps_per_round, 10_000, 10
DRAWS, TRANSFORMS = 64, 3


@dataclass(frozen=True)
class Point:
    """Where a fit is: seconds so far, those of them spent on compiling, and nats."""

    seconds: float
    compiling: float
    elbo: float


Course = list[Point]


def reached(course: Course, elbo: float) -> Point | None:
    """Return where a fit reaches a bound and stays there; None if it does not."""
    below = [i for i, point in enumerate(course) if not point.elbo >= elbo]
    first = below[-1] + 1 if below else 0
    return course[first] if first < len(course) else None


def bound(target: vi.Target, z: Tensor, log_q: Tensor) -> float:
    """Return the mean of log p - log q, -inf where a draw is not finite."""
    if not (torch.isfinite(z).all() and torch.isfinite(log_q).all()):
        return -math.inf
    return float((target.log_density(z) - log_q).mean())


def blocks() -> Iterator[range]:
    """Give the blocks of steps before each check: one, and later a twentieth of those so far."""
    done = 0
    while True:
        block = range(done, done + max(1, done // 20))
        yield block
        done = block.stop


class Stopped(vi.Flat):
    """A target that presses Ctrl-C after a number of steps of training."""

    def __init__(self, target: vi.Target, steps: int) -> None:
        super().__init__(target.log_density, target.dim)
        self.left = steps

    @property
    def over(self) -> bool:
        """Whether it has done so."""
        return self.left < 0

    def estimate(self, z: Tensor, generator: torch.Generator) -> Tensor:
        self.left -= 1
        if self.over:
            raise KeyboardInterrupt
        return super().estimate(z, generator)


def fit(target: vi.Target, seed: int) -> Point:
    """Return where `vi.fit` ends."""
    started = time.perf_counter()
    posterior = vi.fit(target, seed=seed)
    seconds = time.perf_counter() - started
    z = posterior.sample(CHECK)
    return Point(seconds, 0.0, bound(target, z, posterior.log_prob(z)))


def whole(name: str, folder: Path, seed: int) -> Iterator[Point]:
    """Give the end of `vi.fit`."""
    target, _, _ = posteriordb.load(name, folder)
    yield fit(target, seed)


def fitted(name: str, folder: Path, seed: int) -> Iterator[Point]:
    """Give the points of `vi.fit`, one for each number of rounds."""
    target, _, _ = posteriordb.load(name, folder)
    steps, going_on = 0, True
    while going_on:
        stopped = Stopped(target, steps)
        yield fit(stopped, seed)
        steps, going_on = steps + STEPS, stopped.over


def trained(name: str, folder: Path, seed: int, rate: float) -> Iterator[Point]:
    """Give the points of an IAF that Adam trains on the bound."""
    target, _, _ = posteriordb.load(name, folder)
    torch.manual_seed(seed)
    started = time.perf_counter()
    widths = (target.dim, target.dim)
    flow = invflow.IAF(target.dim, 0, TRANSFORMS, widths, activation="elu").double()
    optimizer = torch.optim.Adam(flow.parameters(), rate, fused=True)
    seconds = time.perf_counter() - started
    for block in blocks():
        started = time.perf_counter()
        for _ in range(STEPS * len(block)):
            optimizer.zero_grad()
            z, log_q = flow(validate_args=False).rsample_and_log_prob((DRAWS,))
            if not torch.isfinite(z).all():  # it has diverged
                yield Point(seconds + time.perf_counter() - started, 0.0, -math.inf)
                return
            (log_q - target.log_density(z)).mean().backward()
            optimizer.step()
        seconds += time.perf_counter() - started
        with torch.no_grad():
            yield Point(seconds, 0.0, bound(target, *flow().rsample_and_log_prob((CHECK,))))


def compiled(name: str, folder: Path, seed: int, rate: float) -> Iterator[Point]:
    """Give the points of NumPyro's guide.

    Raises:
        AssertionError: its log density is not `posteriordb`'s.
    """
    import numpyro_iaf

    target, _, reference = posteriordb.load(name, folder)
    density = numpyro_iaf.load(name, folder)
    for z in (reference[:5], torch.randn(5, target.dim).double()):
        theirs = torch.tensor([float(density[0](each)) for each in z.numpy()])
        torch.testing.assert_close(theirs.double(), target.log_density(z), rtol=1e-6, atol=1e-6)
    started = time.perf_counter()
    guide = numpyro_iaf.Guide(density, rate, DRAWS, STEPS, seed)
    seconds = time.perf_counter() - started
    for block in blocks():
        started = time.perf_counter()
        for _ in block:
            guide.advance()
        seconds += time.perf_counter() - started
        z, log_q = guide.sample(CHECK, seed=block.stop)
        elbo = bound(target, torch.from_numpy(z), torch.from_numpy(log_q))
        yield Point(seconds, guide.compilation, elbo)


#: Takes the name of a posterior, the folder and a seed.
Fit = Callable[[str, Path, int], Iterator[Point]]


def _at(fit: Callable[[str, Path, int, float], Iterator[Point]], rate: float) -> Fit:
    return lambda name, folder, seed: fit(name, folder, seed, rate)


FITS: dict[str, Fit] = {
    "vi.fit": fitted,
    "vi.fit, whole": whole,
    "invflow 0.01": _at(trained, 1e-2),
    "invflow 0.001": _at(trained, 1e-3),
    "numpyro 0.01": _at(compiled, 1e-2),
    "numpyro 0.001": _at(compiled, 1e-3),
}


def settled(course: Course, highest: float, checks: int, seconds: float) -> bool:
    """Whether a fit can stop: it stays at the highest level, or the time is over."""
    last = course[-checks:]
    there = len(last) == checks and all(point.elbo >= highest for point in last)
    return there or course[-1].seconds - course[-1].compiling > seconds


def run(fit: str, name: str, folder: Path, seed: int, seconds: float, threads: int) -> Course:
    """Return the course of a fit, on as many processors as threads."""
    if hasattr(os, "sched_setaffinity"):  # JAX takes what it is given
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)
    highest = EVIDENCE[name] - LEVELS[-1]
    # What vi.fit returns gets no worse from round to round.
    checks = 1 if fit == "vi.fit" else SETTLED
    course: Course = []
    for point in FITS[fit](name, folder, seed):
        course.append(point)
        if settled(course, highest, checks, seconds):
            break
    return course


def apart(*arguments: object) -> Course:
    """Return what `run` returns in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(run, *arguments).result()


def _median(points: list[Point | None], pick: Callable[[Point], float]) -> float:
    """Return the median of what is picked; what never came counts as infinite."""
    return statistics.median(math.inf if each is None else pick(each) for each in points)


def _seconds(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def lines(name: str, courses: dict[str, list[Course]]) -> list[list[str]]:
    """Return a line for each fit."""
    evidence, found = EVIDENCE[name], {}
    for fit, each in courses.items():
        found[fit] = [[reached(course, evidence - level) for course in each] for level in LEVELS]

    def times(fit: str) -> tuple[float, float]:
        points = found[fit][-1]
        return (
            _median(points, lambda point: point.seconds),
            _median(points, lambda point: point.seconds - point.compiling),
        )

    rows: list[list[str]] = []
    for fit, each in courses.items():
        ends: list[Point | None] = [course[-1] for course in each]
        ratios: list[str] = []
        if "vi.fit" in courses:
            pairs = zip(times(fit), times("vi.fit"), strict=True)
            ratios = [_seconds(theirs / ours) for theirs, ours in pairs]
        rows.append(
            [
                name.partition("-")[2],
                fit,
                _seconds(_median(ends, lambda point: point.compiling)),
                *(_seconds(_median(points, lambda point: point.seconds)) for points in found[fit]),
                " / ".join(ratios),
                _seconds(_median(ends, lambda point: point.seconds)),
                f"{_median(ends, lambda point: evidence - point.elbo):.3g}",
            ]
        )
    return rows


def main(arguments: list[str]) -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of posteriordb posteriors")
    parser.add_argument("--quick", action="store_true", help="one seed, ten seconds")
    parser.add_argument("--only", default="", help="posteriors and fits whose names contain this")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=120, help="time limit of a fit")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    seeds, seconds = (1, 10.0) if options.quick else (options.seeds, options.seconds)
    about = {**environment(options.threads), "numpyro": version("numpyro") or "not installed"}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    fits = [fit for fit in FITS if version("numpyro") or not fit.startswith("numpyro")]
    if len(fits) < len(FITS):
        print("pip install numpyro, to have it beside invflow")
    rows: list[list[str]] = []
    for name in EVIDENCE:
        wanted = [fit for fit in fits if options.only in f"{name} {fit}"]
        courses: dict[str, list[Course]] = {fit: [] for fit in wanted}
        for seed in range(seeds):
            for fit in wanted:
                print(f"{name}, {fit}, seed {seed} ...", file=sys.stderr)
                course = apart(fit, name, options.data, seed, seconds, options.threads)
                courses[fit].append(course)
        rows += lines(name, courses)
    levels = [f"to -{level:g} nats, s" for level in LEVELS]
    header = ["posterior", "fit", "compiling, s", *levels, "ratio", "ended, s", "nats short"]
    print("\n" + table(header, rows))


if __name__ == "__main__":
    main(sys.argv[1:])
