"""The loop: models side by side, each with its optimizer, on the same batches and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from invflow import _checks
from invflow.training.batches import batch_size, batches
from invflow.training.checkpoint import Checkpoints, Stateful
from invflow.training.compiling import compiled
from invflow.training.fabric import started
from invflow.training.learner import Evaluate, Learner, Loss
from invflow.training.metrics import Metrics
from invflow.training.settings import Settings

#: Called after every step: how many are done, and a line about how it goes.
Report = Callable[[int, str], None]


def fit(
    fabric: Any,
    models: Mapping[str, nn.Module],
    rows: int | Sequence[int],
    loss: Loss,
    evaluate: Evaluate,
    settings: Settings,
    directory: Path | None,
    report: Report,
    parts: Sequence[nn.Module] = (),
) -> dict[str, float]:
    """Train models side by side, and leave each in the state that evaluated best.

    Every model sees the same batches and the same noise, which are functions of the seed and the
    step alone: a run that was killed goes on from its last checkpoint to the same numbers.

    A step whose loss or gradient is not finite is skipped, and counted. With several devices, each
    takes an equal share of every batch and draws its own noise, and their gradients are averaged.
    All evaluate the same; the first alone writes and reports.

    Args:
        fabric: where to train, what `launch` gives.
        models: by name; trained in place.
        rows: number of rows of the training data; or those of its blocks, as `batches` takes them.
        loss: what to minimise.
        evaluate: what to measure.
        settings: how to train.
        directory: of the run; gets `checkpoints/`, `metrics.csv` and TensorBoard events. None to
            keep nothing on disk.
        report: called after every step.
        parts: of the models, to be compiled while they are trained.

    Returns:
        Seconds of training by model.

    Raises:
        ImportError: TensorBoard is not installed.
        TypeError: `rows` that are not integers.
        ValueError: a damaged checkpoint, or one of another run; batches that the devices cannot
            share evenly; or processes of torchrun that would each train all, in one directory.
        FloatingPointError: too many skipped steps in succession, or an evaluation that is not
            finite.
    """
    given = rows if isinstance(rows, Sequence) else [rows]
    blocks = [_checks.positive_integer("rows", each, minimum=0) for each in given]
    if directory is not None and started() > fabric.world_size:
        raise ValueError(
            f"directory must not be written by {started()} processes that train by themselves: "
            f"torchrun has started {started()}, and devices is {fabric.world_size}"
        )
    size = batch_size(settings.batch_size, sum(blocks), fabric.world_size)
    learners = {name: Learner(name, fabric, model, settings) for name, model in models.items()}
    states: dict[str, Stateful] = {}
    for learner in learners.values():
        states |= learner.states
    checkpoints = None if directory is None else Checkpoints(directory / "checkpoints")
    done, progress = (checkpoints and checkpoints.load(states)) or (0, {})
    for name, learner in learners.items():
        learner.progress |= progress.get(name, {})

    # All processes do the same on their rows; the first alone writes and tells.
    first = fabric.is_global_zero
    recording = Metrics(directory, done) if first and directory else nullcontext()
    with compiled(parts), recording as metrics:
        if first:
            report(done, f"compiling for {settings.steps:,} steps" if parts else "")
        for step, indices in batches(blocks, size, settings.steps, settings.seed, done):
            if all(learner.has_converged for learner in learners.values()):
                break
            share = indices[fabric.global_rank :: fabric.world_size].to(fabric.device)
            for learner in learners.values():
                learner.update(step, share, loss)
            if step % settings.evaluate_every == 0 or step == settings.steps:
                measured = {n: lr.measure(step, evaluate) for n, lr in learners.items()}
                if metrics is not None and checkpoints is not None:
                    for name, (train, validation) in measured.items():
                        metrics.add(step, name, "train", **train)
                        metrics.add(step, name, "validation", **validation)
                    metrics.write()
                    extra = {name: learner.progress for name, learner in learners.items()}
                    checkpoints.save(step, states, extra)
            if first:
                report(step, "  ".join(map(str, learners.values())))
    # Until here a process could look for what the first has not written yet.
    fabric.barrier()
    for learner in learners.values():
        learner.finish()
    return {name: learner.progress["seconds"] for name, learner in learners.items()}
