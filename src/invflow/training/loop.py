"""The loop: models side by side, each with its optimizer, on the same batches and noise."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invflow.training.checkpoint import Checkpoints, Stateful
from invflow.training.metrics import Metrics

#: The loss of a model on the given rows of the data, a scalar to minimise.
Loss = Callable[[nn.Module, Tensor, torch.Generator], Tensor]
#: What to measure of a model now and then; its "loss" decides which state is kept in the end.
Evaluate = Callable[[nn.Module], Mapping[str, float]]
#: Told of every step: how many are done, and a line about how it goes.
Report = Callable[[int, str], None]


@dataclass(frozen=True)
class Settings:
    """How to train.

    Args:
        steps: number of updates.
        batch_size: rows per update.
        learning_rate: AdamW's, falling to zero along a cosine.
        weight_decay: AdamW's.
        clip: largest norm of a gradient.
        seed: of batches and noise.
        evaluate_every: steps between evaluations; each is followed by a checkpoint.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    clip: float
    seed: int
    evaluate_every: int


def fit(
    fabric: Any,
    models: Mapping[str, nn.Module],
    rows: int,
    loss: Loss,
    evaluate: Evaluate,
    settings: Settings,
    directory: Path,
    report: Report,
) -> dict[str, float]:
    """Train models side by side, and leave each in the state that evaluated best.

    Every model sees the same batches and the same noise, which are functions of the seed and the
    step alone: a run that was killed goes on from its last checkpoint to the same numbers.

    Args:
        fabric: where to train, what `launch` gives.
        models: by name; trained in place.
        rows: number of rows of the training data.
        loss: what to minimise.
        evaluate: what to measure.
        settings: how to train.
        directory: of the run; gets `checkpoints/`, `metrics.csv` and TensorBoard events.
        report: told of every step.

    Returns:
        Seconds of training by model.

    Raises:
        ImportError: TensorBoard is not installed.
        ValueError: a damaged checkpoint, or one of another run.
        FloatingPointError: a loss that is not finite, in training or in evaluation.
    """
    learners = {name: _Learner(name, fabric, model, settings) for name, model in models.items()}
    states: dict[str, Stateful] = {}
    for name, learner in learners.items():
        states |= {f"{name}.model": learner.model, f"{name}.optimizer": learner.optimizer}
    checkpoints = Checkpoints(directory / "checkpoints")
    done, progress = checkpoints.load(states) or (0, {})
    for name, learner in learners.items():
        learner.progress |= progress.get(name, {})

    report(done, "")
    with Metrics(directory, done) as metrics:
        for step, indices in _batches(rows, settings, done):
            for learner in learners.values():
                learner.update(step, indices.to(fabric.device), loss)
            if step % settings.evaluate_every == 0 or step == settings.steps:
                for name, learner in learners.items():
                    metrics.add(step, name, "train", **learner.recent())
                    metrics.add(step, name, "validation", **learner.evaluate(step, evaluate))
                metrics.write()
                extra = {name: learner.progress for name, learner in learners.items()}
                checkpoints.save(step, states, extra)
            report(step, "  ".join(f"{n} {lr.smooth:.2f}" for n, lr in learners.items()))
    for learner in learners.values():
        learner.model.load_state_dict(learner.progress["best_state"])
    return {name: learner.progress["seconds"] for name, learner in learners.items()}


class _Learner:
    """A model, its optimizer, and how far it has come."""

    def __init__(self, name: str, fabric: Any, model: nn.Module, settings: Settings) -> None:
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.name = name
        self.fabric = fabric
        self.settings = settings
        self.model, self.optimizer = fabric.setup(model, optimizer)
        self.smooth = math.nan
        self.progress: dict[str, Any] = {
            "seconds": 0.0,
            "sum": 0.0,
            "count": 0,
            "best": math.inf,
            "best_state": {},
        }

    def update(self, step: int, indices: Tensor, loss: Loss) -> None:
        """Take one step."""
        started = time.perf_counter()
        settings = self.settings
        for group in self.optimizer.param_groups:
            cosine = 0.5 * (1 + math.cos(math.pi * (step - 1) / settings.steps))
            group["lr"] = settings.learning_rate * cosine
        noise = _generator(self.fabric.device, settings.seed, step)
        self.optimizer.zero_grad(set_to_none=True)
        value = loss(self.model, indices, noise)
        number = float(value.detach())
        self._check(number, step, "loss")
        self.fabric.backward(value)
        self.fabric.clip_gradients(self.model, self.optimizer, max_norm=settings.clip)
        self.optimizer.step()
        self.smooth = number if math.isnan(self.smooth) else 0.95 * self.smooth + 0.05 * number
        self.progress["sum"] += number
        self.progress["count"] += 1
        self.progress["seconds"] += time.perf_counter() - started

    def recent(self) -> dict[str, float]:
        """Return the mean loss since the last call, and the seconds of training so far."""
        mean = self.progress["sum"] / self.progress["count"]
        self.progress |= {"sum": 0.0, "count": 0}
        return {"loss": mean, "seconds": self.progress["seconds"]}

    def evaluate(self, step: int, evaluate: Evaluate) -> Mapping[str, float]:
        """Measure the model, and remember its state if it is the best so far."""
        self.model.eval()
        with torch.no_grad():
            values = evaluate(self.model)
        self.model.train()
        self._check(values["loss"], step, "validation loss")
        if values["loss"] < self.progress["best"]:
            state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
            self.progress |= {"best": values["loss"], "best_state": state}
        return values

    def _check(self, value: float, step: int, what: str) -> None:
        if not math.isfinite(value):
            raise FloatingPointError(f"the {what} of {self.name} at step {step} is {value}")


def _generator(device: torch.device | str, *seeds: int) -> torch.Generator:
    """Return random numbers that are a function of the seeds alone."""
    mixed = 0
    for seed in seeds:
        mixed = (mixed * 6364136223846793005 + seed + 1442695040888963407) % 2**63
    return torch.Generator(device).manual_seed(mixed)


def _batches(rows: int, settings: Settings, done: int) -> Iterator[tuple[int, Tensor]]:
    """Give the row numbers of each step to come; every epoch takes the rows in a new order."""
    size = min(settings.batch_size, rows)
    order = torch.arange(rows)
    for step in range(done + 1, settings.steps + 1):
        epoch, place = divmod(step - 1, rows // size)
        if place == 0 or step == done + 1:
            order = torch.randperm(rows, generator=_generator("cpu", settings.seed, -1 - epoch))
        yield step, order[place * size : (place + 1) * size]
