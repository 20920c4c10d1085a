"""Train a flow on a target, in rounds of steps, until it is accurate or stops improving."""

from __future__ import annotations

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
from invflow.training.checkpoint import Checkpoints
from invflow.vi.fitting import processes
from invflow.vi.fitting.accuracy import Accuracy, confirmed, effective, reached
from invflow.vi.fitting.adam import Adam
from invflow.vi.fitting.objectives import path_loss
from invflow.vi.targets.density import Density

#: Gradients longer than this are scaled down to it.
MAX_GRADIENT_NORM = 10.0
#: Factor by which the learning rate is lowered, and rounds without a rise of the bound before that.
LEARNING_RATE_DROP, PATIENCE = 3, 4
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

    accuracy: Accuracy = _setting(  # noqa: RUF009, a field
        "standard",
        "When to stop: standard, 90 % of draws effective with k-hat below 0.5, or 97 % with k-hat "
        "below 0.6; high, 99.9 %.",
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
    tolerance: float = _setting(
        2e-3, "Smallest rise of the bound in four rounds, in nats, that counts."
    )
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
    report: Callable[[int, float, float], None],
    directory: Path | None = None,
) -> tuple[int, str]:
    """Train a flow in place until it is accurate, or the bound stops rising.

    Ctrl-C stops it at the best so far.

    Several processes share the draws of each step; only the first one writes checkpoints.

    Args:
        flow: the flow to train.
        density: of the target.
        settings: how to train.
        seed: random seed of the noise.
        report: called after every round with the number of steps, the bound, and the effective
            fraction of the draws.
        directory: where checkpoints are kept; training resumes from the newest one.

    Returns:
        The number of steps, and why training stopped: "converged", "max_steps" or "interrupted".
    """
    run = _Run(flow, density, settings, seed)
    checkpoints = None if directory is None else Checkpoints(directory)
    if checkpoints is not None:
        for looked in run.load(checkpoints):
            report(*looked)
    reason = "interrupted"
    try:
        while run.steps < settings.max_steps and not run.done:
            run.round()
            report(*run.looks[-1])
            if checkpoints is not None and not processes.rank():
                run.save(checkpoints)
        reason = "converged" if run.done else "max_steps"
    except KeyboardInterrupt:
        pass
    if checkpoints is not None:
        processes.wait()  # or another process could look for a checkpoint not yet written
    run.optimizer.put(run.best)
    return run.steps, reason


class _Run:
    """A flow, its optimizer, the average of its iterates, and the best average so far."""

    def __init__(self, flow: Flow, density: Density, settings: Settings, seed: int) -> None:
        self.flow, self.density, self.settings, self.seed = flow, density, settings, seed
        self.like = next(flow.parameters())
        learned = any(each.requires_grad for each in flow.base.parameters())
        if learned and not flow.base.has_rsample:
            name = type(flow.base).__name__
            raise ValueError(
                f"flow must have a base with reparameterised samples, got {name}, whose parameters "
                "have no gradient along the path of a draw"
            )
        self.noise, self.fixed_noise = Noise(flow.base, seed), Noise(flow.base, seed + 1)
        self.optimizer = Adam(flow, settings.learning_rate)
        self.average, self.best = self.optimizer.value.clone(), self.optimizer.value.clone()
        self.best_terms = self.first_terms = processes.of_first(self._terms())
        #: Above these the bound has to rise, and the number of rounds in which it has not.
        self.last_terms, self.waited = self.first_terms, 0
        self.steps = self.dropped = 0
        self.accurate = self._is_accurate()
        self.earlier = density.evaluations, density.rejected
        #: After each round: the number of steps, the best bound, and the effective fraction.
        self.looks: list[tuple[int, float, float]] = []

    def round(self) -> None:
        """Take the steps of a round, and lower the rate if the bound has not risen."""
        settings = self.settings
        self.density.generator.manual_seed(self.seed + self.steps)
        for _ in range(settings.steps_per_round):
            self._step()
        self.optimizer.put(self.average)
        terms = processes.of_first(self._terms())
        self.optimizer.put(self.optimizer.value)
        if _rise(terms, self.best_terms)[0] > 0:
            self.best, self.best_terms = self.average.clone(), terms
            self.accurate = self._is_accurate()
        gain, error = _rise(self.best_terms, self.last_terms)
        self.waited += 1
        if gain > max(2 * error, settings.tolerance):
            self.last_terms, self.waited = self.best_terms, 0
        elif self.waited == PATIENCE:
            self._lower()
        bound = float(self.best_terms[torch.isfinite(self.best_terms)].mean())
        self.looks.append((self.steps, bound, effective(self.best_terms)))

    @property
    def done(self) -> bool:
        """Whether the bound has stopped rising, or the flow is accurate."""
        return self.accurate or self.dropped > self.settings.learning_rate_drops

    @torch.no_grad()
    def _terms(self) -> Tensor:
        """Return the terms of the bound of the flow as it is, on draws of fixed noise, (draws,)."""
        # Noise of a base that is learned changes with it.
        noise = self.fixed_noise(0, self.settings.evaluation_draws, self.like)
        x, ladj = self.flow.transform(noise)
        return self.density.exact(x) - self.flow.base.log_prob(noise) + ladj

    def _is_accurate(self) -> bool:
        """Return whether the best flow is accurate, on the fixed draws and on others."""
        accurate = reached(self.settings.accuracy, self.best_terms)
        if accurate:
            self.optimizer.put(self.best)
            accurate = confirmed(self.flow, self.density, self.settings.accuracy, self.seed + 2)
            self.optimizer.put(self.optimizer.value)
        return processes.decided_by_first(accurate)

    def _step(self) -> None:
        samples = self.settings.train_samples
        groups = self.settings.batch_size // samples
        first, share = processes.part(groups)
        start = self.steps * self.settings.batch_size + first * samples
        noise = self.noise(start, share * samples, self.like)
        loss, _ = path_loss(self.flow, self.density, noise, samples)
        # The loss is a mean over this process's groups; weigh it for the mean over all groups.
        gradient = self.optimizer.gradient(loss * (share * processes.count() / groups))
        gradient = processes.mean(gradient)
        gradient *= (MAX_GRADIENT_NORM / (gradient.norm() + 1e-6)).clamp(max=1.0)
        self.optimizer.step(gradient)
        self.average.lerp_(self.optimizer.value, 1 - self.settings.averaging_decay)
        self.steps += 1

    def _lower(self) -> None:
        """Return to the best parameters, with a lower learning rate."""
        self.dropped += 1
        self.last_terms, self.waited = self.best_terms, 0
        self.optimizer.value.copy_(self.best)
        self.optimizer.put(self.best)
        self.average.copy_(self.best)
        self.optimizer.learning_rate /= LEARNING_RATE_DROP

    def save(self, checkpoints: Checkpoints) -> None:
        spent = self.density.evaluations, self.density.rejected
        extra = {
            "average": self.average,
            "best": self.best,
            "best_terms": self.best_terms,
            "last_terms": self.last_terms,
            "waited": self.waited,
            "first_terms": self.first_terms,
            "settings": asdict(self.settings),
            "dropped": self.dropped,
            "looks": self.looks,
            "spent": [now - then for now, then in zip(spent, self.earlier, strict=True)],
        }
        checkpoints.save(self.steps, {"optimizer": self.optimizer}, extra)

    def load(self, checkpoints: Checkpoints) -> list[tuple[int, float, float]]:
        """Resume from the newest checkpoint, if there is one; return what was seen so far.

        Raises:
            ValueError: if it belongs to another fit.
        """
        loaded = checkpoints.load({"optimizer": self.optimizer})
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
        self.average, self.best = extra["average"], extra["best"]
        self.best_terms, self.last_terms = extra["best_terms"], extra["last_terms"]
        self.waited = extra["waited"]
        self.accurate = self._is_accurate()
        self.dropped = extra["dropped"]
        self.looks = [(int(done), float(a), float(b)) for done, a, b in extra["looks"]]
        evaluations, rejected = extra["spent"]
        self.density.evaluations += evaluations
        self.density.rejected += rejected
        self.earlier = self.density.evaluations - evaluations, self.density.rejected - rejected
        return self.looks


def _rise(terms: Tensor, earlier: Tensor) -> tuple[float, float]:
    """Return by how much a bound has risen, from its terms, (draws,), and the standard error."""
    both = torch.isfinite(terms) & torch.isfinite(earlier)
    rise = (terms - earlier)[both]
    return float(rise.mean()), float(rise.std()) / math.sqrt(max(len(rise), 1))
