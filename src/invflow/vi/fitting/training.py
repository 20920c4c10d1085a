"""Train a flow on a target, in rounds of steps, until the bound stops improving."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from invflow import _checks
from invflow.flows import Base, Flow, StandardNormal
from invflow.training.checkpoint import Checkpoints, Stateful
from invflow.vi.fitting import processes
from invflow.vi.fitting.accuracy import Accuracy, reached
from invflow.vi.fitting.objectives import path_loss
from invflow.vi.targets.density import Density

#: Gradients longer than this are scaled down to it.
MAX_GRADIENT_NORM = 10.0
#: Factor by which the learning rate is lowered.
LEARNING_RATE_DROP = 3
#: Vectors of random noise that are drawn together, whichever of them are asked for.
NOISE_BLOCK = 256


def _setting(default: Any, description: str) -> Any:
    """Return a field with its help text, where pydantic looks for it."""
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class Settings:
    """How to train the flow of a posterior.

    Raises:
        TypeError: if a setting is not a number of the right kind.
        ValueError: if a setting is out of range, or `train_samples` does not divide `batch_size`.
    """

    accuracy: Accuracy = _setting(
        "standard",
        "When to stop: standard, 90 % of draws effective, k-hat below 0.5; high, 99.9 % effective.",
    )
    batch_size: int = _setting(256, "Draws per step, over all processes.")
    train_samples: int = _setting(
        1, "Importance samples in the training bound (1: evidence lower bound)."
    )
    learning_rate: float = _setting(5e-3, "Initial learning rate of Adam.")
    steps_per_round: int = _setting(50, "Steps between evaluations of the bound.")
    learning_rate_drops: int = _setting(
        3, "Number of times the learning rate drops before training stops."
    )
    max_steps: int = _setting(5000, "Maximum number of steps for each mode.")
    tolerance: float = _setting(2e-3, "Smallest rise of the bound per round, in nats, that counts.")
    evaluation_draws: int = _setting(2048, "Draws on which the bound is evaluated.")
    averaging_decay: float = _setting(0.97, "Decay of the moving average of the parameters.")

    def __post_init__(self) -> None:
        sizes = ("batch_size", "train_samples", "steps_per_round", "max_steps", "evaluation_draws")
        for name in (*sizes, "learning_rate_drops"):
            least = int(name in sizes)
            number = _checks.positive_integer(name, getattr(self, name), minimum=least)
            _checks.settle(self, **{name: number})
        if self.batch_size % self.train_samples:
            raise ValueError(
                f"train_samples must divide batch_size={self.batch_size}, got {self.train_samples}"
            )
        _checks.choice("accuracy", self.accuracy, get_args(Accuracy))
        for name in ("learning_rate", "tolerance", "averaging_decay"):
            _checks.settle(self, **{name: _checks.number(name, getattr(self, name))})
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not self.tolerance >= 0:
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance}")
        if not 0 <= self.averaging_decay < 1:
            raise ValueError(
                f"averaging_decay must be at least 0 and below 1, got {self.averaging_decay}"
            )


class Noise:
    """A sequence of noise vectors from a flow's base, the same however they are asked for.

    Standard normal noise comes from a scrambled Sobol sequence, more even than random numbers.
    """

    def __init__(self, base: Base, seed: int) -> None:
        self._base, self._seed = base, seed
        self._sobol = type(base) is StandardNormal
        self._engine = SobolEngine(base.features, scramble=True, seed=seed)

    def __call__(self, first: int, count: int, like: Tensor) -> Tensor:
        """Return `count` vectors from the `first` on, in the dtype and device of `like`."""
        return (self._even if self._sobol else self._random)(first, count, like)

    def _even(self, first: int, count: int, like: Tensor) -> Tensor:
        if first < self._engine.num_generated:
            self._engine.reset()
        self._engine.fast_forward(first - self._engine.num_generated)
        uniform = self._engine.draw(count, dtype=torch.float64)
        edge = 2.0**-32
        return torch.special.ndtri(uniform.clamp(edge, 1 - edge)).to(like)

    def _random(self, first: int, count: int, like: Tensor) -> Tensor:
        blocks = range(first // NOISE_BLOCK, math.ceil((first + count) / NOISE_BLOCK))
        noise = torch.cat([self._block(block, like) for block in blocks])
        return noise[first - NOISE_BLOCK * blocks.start :][:count]

    def _block(self, block: int, like: Tensor) -> Tensor:
        word = int(np.random.SeedSequence([self._seed, block]).generate_state(1)[0])
        generator = torch.Generator(like.device).manual_seed(word)
        draw = self._base.rsample if self._base.has_rsample else self._base.sample
        return draw((NOISE_BLOCK,), dtype=like.dtype, device=like.device, generator=generator)


def train(
    flow: Flow,
    density: Density,
    settings: Settings,
    seed: int,
    report: Callable[[int, float], None],
    directory: Path | None = None,
) -> tuple[int, str]:
    """Train a flow in place until the bound stops improving; Ctrl-C stops it at the best so far.

    Several processes share the draws of each step; only the first one writes checkpoints.

    Args:
        flow: the flow to train.
        density: of the target.
        settings: how to train.
        seed: random seed of the noise.
        report: called after every round with the number of steps and the bound.
        directory: where checkpoints are kept; training resumes from the newest one.

    Returns:
        The number of steps, and why training stopped: "converged", "max_steps" or "interrupted".
    """
    run = _Run(flow, density, settings, seed)
    checkpoints = None if directory is None else Checkpoints(directory)
    if checkpoints is not None:
        for done, bound in run.load(checkpoints):
            report(done, bound)
    reason = "interrupted"
    try:
        while run.steps < settings.max_steps and not run.done:
            bound = run.round()
            report(run.steps, bound)
            if checkpoints is not None and not processes.rank():
                run.save(checkpoints)
        reason = "converged" if run.done else "max_steps"
    except KeyboardInterrupt:
        pass
    if checkpoints is not None:
        processes.wait()  # or another process could look for a checkpoint not yet written
    flow.load_state_dict(run.best)
    return run.steps, reason


class _Run:
    """A flow, its optimizer, the average of its iterates, and the best average so far."""

    def __init__(self, flow: Flow, density: Density, settings: Settings, seed: int) -> None:
        self.flow, self.density, self.settings, self.seed = flow, density, settings, seed
        self.like = next(flow.parameters())
        with torch.no_grad():
            evaluation_noise = Noise(flow.base, seed + 1)
            self.evaluation_noise = evaluation_noise(0, settings.evaluation_draws, self.like)
        self.noise = Noise(flow.base, seed)
        self.average = copy.deepcopy(flow)
        self.optimizer = torch.optim.Adam(flow.parameters(), lr=settings.learning_rate)
        self.best = copy.deepcopy(flow.state_dict())
        self.best_terms = self.first_terms = _terms(flow, density, self.evaluation_noise)
        self.steps = self.dropped = 0
        self.earlier = density.evaluations, density.rejected
        self.bounds: list[tuple[int, float]] = []

    def round(self) -> float:
        """Take the steps of a round; lower the rate if the bound has not risen; return the best."""
        settings = self.settings
        self.density.generator.manual_seed(self.seed + self.steps)
        for _ in range(settings.steps_per_round):
            self._step()
        terms = processes.of_first(_terms(self.average, self.density, self.evaluation_noise))
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
        """Whether the bound has stopped rising, or the flow is accurate."""
        stuck = self.dropped > self.settings.learning_rate_drops
        return stuck or reached(self.settings.accuracy, self.best_terms)

    def _step(self) -> None:
        samples = self.settings.train_samples
        groups = self.settings.batch_size // samples
        first, share = processes.part(groups)
        start = self.steps * self.settings.batch_size + first * samples
        noise = self.noise(start, share * samples, self.like)
        loss, _ = path_loss(self.flow, self.density, noise, samples)
        self.optimizer.zero_grad()
        # The loss is a mean over this process's groups; weigh it for the mean over all groups.
        (loss * (share * processes.count() / groups)).backward()
        processes.average(self.flow.parameters())
        torch.nn.utils.clip_grad_norm_(self.flow.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        _follow(self.average, self.flow, self.settings.averaging_decay)
        self.steps += 1

    def _lower(self) -> None:
        """Return to the best parameters, with a lower learning rate."""
        self.dropped += 1
        self.flow.load_state_dict(self.best)
        self.average.load_state_dict(self.best)
        for group in self.optimizer.param_groups:
            group["lr"] /= LEARNING_RATE_DROP

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
        """Resume from the newest checkpoint, if there is one; return the bounds so far.

        Raises:
            ValueError: if it belongs to another fit.
        """
        loaded = checkpoints.load(self._states())
        if not processes.agree(-1 if loaded is None else loaded[0]):
            raise ValueError(
                "directory must be the same for all processes, got "
                f"{checkpoints.directory}, where they find different checkpoints"
            )
        if loaded is None:
            return []
        self.steps, extra = loaded
        # The bound's terms of the initial flow: those of another target differ.
        same = self.first_terms.shape == extra["first_terms"].shape and torch.allclose(
            self.first_terms, extra["first_terms"], rtol=1e-6, equal_nan=True
        )
        if not same or extra["settings"] != asdict(self.settings):
            raise ValueError(
                f"directory {checkpoints.directory} holds checkpoints of another fit: its target, "
                "flow, seed or settings differ; choose another directory, or remove this one"
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
