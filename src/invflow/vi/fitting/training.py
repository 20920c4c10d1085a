"""A flow trained on a target: steps in rounds, until the bound has stopped moving."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from invflow import _checks
from invflow.flows import Flow
from invflow.training.checkpoint import Checkpoints, Stateful
from invflow.vi.fitting import processes
from invflow.vi.fitting.objectives import path_loss
from invflow.vi.targets.density import Density

#: Nats between the bound and the evidence that are not worth a step: 99.9% of draws are effective.
EXACT = 5e-4


@dataclass(frozen=True)
class Settings:
    """How to train.

    Args:
        batch: draws per step, of all processes together.
        draws: draws in a group of the importance-weighted bound; 1 for the evidence lower bound.
        learning_rate: Adam's, in the first rounds.
        round: steps in a round.
        drops: how many times the rate is lowered before training ends.
        most_steps: where it ends at the latest.
        tolerance: nats by which the bound has to rise in a round to count as moving.
        check: draws on which it is measured.
        memory: of the average of iterates, which is what is measured and kept.

    Raises:
        TypeError: a number of the wrong kind.
        ValueError: a number out of range, or `draws` that do not divide the batch.
    """

    batch: int = 512
    draws: int = 1
    learning_rate: float = 5e-3
    round: int = 200
    drops: int = 3
    most_steps: int = 5000
    tolerance: float = 2e-3
    check: int = 2048
    memory: float = 0.97

    def __post_init__(self) -> None:
        for name in ("batch", "draws", "round", "most_steps", "check"):
            _checks.settle(self, **{name: _checks.positive_integer(name, getattr(self, name))})
        _checks.settle(self, drops=_checks.positive_integer("drops", self.drops, minimum=0))
        if self.batch % self.draws:
            raise ValueError(f"draws must divide the batch of {self.batch}, got {self.draws}")
        _checks.settle(self, learning_rate=_checks.number("learning_rate", self.learning_rate))
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        _checks.settle(self, tolerance=_checks.number("tolerance", self.tolerance))
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance}")
        _checks.settle(self, memory=_checks.number("memory", self.memory))
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory must be at least 0 and below 1, got {self.memory}")


class Noise:
    """Standard normal vectors from a scrambled Sobol sequence, more even than random ones."""

    def __init__(self, dim: int, seed: int) -> None:
        self._engine = SobolEngine(dim, scramble=True, seed=seed)

    def __call__(self, first: int, count: int, like: Tensor) -> Tensor:
        """Return `count` vectors from the `first` on, in the dtype and on the device of `like`."""
        if first < self._engine.num_generated:
            self._engine.reset()
        self._engine.fast_forward(first - self._engine.num_generated)
        uniform = self._engine.draw(count, dtype=torch.float64)
        edge = 2.0**-32
        return torch.special.ndtri(uniform.clamp(edge, 1 - edge)).to(like)


def train(
    flow: Flow,
    density: Density,
    settings: Settings,
    seed: int,
    report: Callable[[int, float], None],
    directory: Path | None = None,
) -> tuple[int, str]:
    """Train a flow in place, as far as it goes; Ctrl-C ends it with the best so far.

    Several processes share the draws of each step; the first alone writes checkpoints.

    Args:
        flow: what to train.
        density: of the target.
        settings: how to train.
        seed: of the noise.
        report: told of every round: steps done, and the bound.
        directory: where to keep checkpoints, and to go on from the newest.

    Returns:
        The steps taken, and why no more were: "converged", "most_steps" or "interrupted".
    """
    run = _Run(flow, density, settings, seed)
    checkpoints = None if directory is None else Checkpoints(directory)
    if checkpoints is not None:
        for done, bound in run.load(checkpoints):
            report(done, bound)
    reason = "interrupted"
    try:
        while run.steps < settings.most_steps and not run.done:
            bound = run.round()
            report(run.steps, bound)
            if checkpoints is not None and not processes.rank():
                run.save(checkpoints)
        reason = "converged" if run.done else "most_steps"
    except KeyboardInterrupt:
        pass
    if checkpoints is not None:
        processes.wait()  # or another could look for what the first has not written yet
    flow.load_state_dict(run.best)
    return run.steps, reason


class _Run:
    """A flow, its optimizer, the average of its iterates, and the best average so far."""

    def __init__(self, flow: Flow, density: Density, settings: Settings, seed: int) -> None:
        self.flow, self.density, self.settings, self.seed = flow, density, settings, seed
        self.like = next(flow.parameters())
        self.check = Noise(flow.features, seed + 1)(0, settings.check, self.like)
        self.noise = Noise(flow.features, seed)
        self.average = copy.deepcopy(flow)
        self.optimizer = torch.optim.Adam(flow.parameters(), lr=settings.learning_rate)
        self.best = copy.deepcopy(flow.state_dict())
        self.best_terms = self.first_terms = _terms(flow, density, self.check)
        self.steps = self.dropped = 0
        self.earlier = density.evaluations, density.rejected
        self.bounds: list[tuple[int, float]] = []

    def round(self) -> float:
        """Take the steps of a round, and lower the rate if the bound has not moved; return it."""
        settings = self.settings
        self.density.generator.manual_seed(self.seed + self.steps)
        for _ in range(settings.round):
            self._step()
        terms = processes.of_first(_terms(self.average, self.density, self.check))
        both = torch.isfinite(terms) & torch.isfinite(self.best_terms)
        rise = (terms - self.best_terms)[both]
        gain, error = float(rise.mean()), float(rise.std()) / math.sqrt(max(len(rise), 1))
        if gain > 0:
            self.best, self.best_terms = copy.deepcopy(self.average.state_dict()), terms
        if not gain > max(2 * error, settings.tolerance):
            self._lower()
        bound = float(self.best_terms[torch.isfinite(self.best_terms)].mean())
        self.bounds.append((self.steps, bound))
        return bound

    @property
    def done(self) -> bool:
        """Whether the bound has stopped moving, or has reached the evidence."""
        terms = self.best_terms[torch.isfinite(self.best_terms)]
        gap = terms.logsumexp(0) - math.log(max(len(terms), 1)) - terms.mean()
        return self.dropped > self.settings.drops or float(gap) < EXACT

    def _step(self) -> None:
        settings = self.settings
        groups = settings.batch // settings.draws
        first, share = processes.part(groups)
        start = self.steps * settings.batch + first * settings.draws
        noise = self.noise(start, share * settings.draws, self.like)
        loss, _ = path_loss(self.flow, self.density, noise, settings.draws)
        self.optimizer.zero_grad()
        # A mean over this process's groups, as its part of the mean over all.
        (loss * (share * processes.count() / groups)).backward()
        processes.average(self.flow.parameters())
        torch.nn.utils.clip_grad_norm_(self.flow.parameters(), 10.0)
        self.optimizer.step()
        _follow(self.average, self.flow, settings.memory)
        self.steps += 1

    def _lower(self) -> None:
        """Go back to the best, with a smaller step."""
        self.dropped += 1
        self.flow.load_state_dict(self.best)
        self.average.load_state_dict(self.best)
        for group in self.optimizer.param_groups:
            group["lr"] /= 3

    def save(self, checkpoints: Checkpoints) -> None:
        spent = self.density.evaluations, self.density.rejected
        extra = {
            "best": self.best,
            "best_terms": self.best_terms,
            "first_terms": self.first_terms,
            "settings": asdict(self.settings),
            "dropped": self.dropped,
            "bounds": self.bounds,
            "spent": [now - then for now, then in zip(spent, self.earlier, strict=True)],
        }
        checkpoints.save(self.steps, self._states(), extra)

    def load(self, checkpoints: Checkpoints) -> list[tuple[int, float]]:
        """Go on from the newest checkpoint, if there is one; return the bounds so far.

        Raises:
            ValueError: it is of another fit.
        """
        loaded = checkpoints.load(self._states())
        if not processes.agree(-1 if loaded is None else loaded[0]):
            raise ValueError(
                f"directory must be the same for all processes, got {checkpoints.directory}, where "
                "they find different checkpoints"
            )
        if loaded is None:
            return []
        self.steps, extra = loaded
        # Of the same flow at the same points: another target gives other terms.
        same = self.first_terms.shape == extra["first_terms"].shape and torch.allclose(
            self.first_terms, extra["first_terms"], rtol=1e-6, equal_nan=True
        )
        if not same or extra["settings"] != asdict(self.settings):
            raise ValueError(
                "directory must not hold the checkpoints of another fit, got "
                f"{checkpoints.directory}, of another target, flow, seed or settings: choose "
                "another, or remove it"
            )
        self.best, self.best_terms = extra["best"], extra["best_terms"]
        self.dropped = extra["dropped"]
        self.bounds = [(int(done), float(bound)) for done, bound in extra["bounds"]]
        evaluations, rejected = extra["spent"]
        self.density.evaluations += evaluations
        self.density.rejected += rejected
        self.earlier = self.density.evaluations - evaluations, self.density.rejected - rejected
        return self.bounds

    def _states(self) -> dict[str, Stateful]:
        return {"flow": self.flow, "average": self.average, "optimizer": self.optimizer}


@torch.no_grad()
def _terms(flow: Flow, density: Density, noise: Tensor) -> Tensor:
    x, ladj = flow.transform(noise)
    return density.exact(x) - flow.base.log_prob(noise) + ladj


@torch.no_grad()
def _follow(average: Flow, flow: Flow, decay: float) -> None:
    for mean, value in zip(average.parameters(), flow.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
