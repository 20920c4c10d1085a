"""The loop: models side by side, each with its optimizer, on the same batches and noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from invflow import _checks
from invflow.training.batches import batch_size, batches
from invflow.training.checkpoint import Checkpoints, Stateful
from invflow.training.compiling import compiled
from invflow.training.fabric import started, together
from invflow.training.learner import Evaluate, Learner, Loss
from invflow.training.metrics import Metrics
from invflow.training.settings import Settings

#: Called after every step with the number of steps done and a line of text.
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
    of: str = "",
) -> dict[str, float]:
    """Train models side by side, and leave each in its best evaluated state.

    Every model sees the same batches and the same noise, which depend only on the seed and the
    step: a run that was killed resumes from its last checkpoint and gives the same numbers.

    A step whose loss or gradient is not finite is skipped and counted. Several devices split every
    batch evenly, draw their own noise and average their gradients. All of them evaluate; only the
    first writes and reports.

    Args:
        fabric: where to train, from `launch`.
        models: by name; trained in place.
        rows: number of training rows, or of the rows in each block, as for `batches`.
        loss: what to minimise.
        evaluate: what to measure.
        settings: how to train.
        directory: of the run, for `checkpoints/`, `metrics.csv` and TensorBoard events; None to
            write nothing.
        report: called after every step.
        parts: of the models, to compile while they are trained.
        of: what tells this training from others with the same settings, such as a digest of data;
            a checkpoint of another is refused.

    Returns:
        Seconds of training by model.

    Raises:
        ImportError: if TensorBoard is not installed.
        TypeError: if `rows` are not integers.
        ValueError: if a checkpoint is damaged or belongs to another run, the devices cannot split
            a batch evenly, or several processes of torchrun would train independently in one
            directory.
        FloatingPointError: if too many steps in a row are skipped, or an evaluation is not finite.
    """
    given = rows if isinstance(rows, Sequence) else [rows]
    blocks = [_checks.positive_integer("rows", each, minimum=0) for each in given]
    if directory is not None and started() > fabric.world_size:
        raise ValueError(
            f"directory must have one run that writes to it, got {started()}: torchrun started "
            f"{started()} processes, but devices is {fabric.world_size}; set devices to "
            f"{started()}"
        )
    size = batch_size(settings.batch_size, sum(blocks), fabric.world_size)
    learners = {name: Learner(name, fabric, model, settings) for name, model in models.items()}
    states: dict[str, Stateful] = {}
    for learner in learners.values():
        states |= learner.states
    same = json.dumps([settings.identity, blocks, of])
    checkpoints = None if directory is None else Checkpoints(directory / "checkpoints", of=same)
    done, progress = (checkpoints and checkpoints.load(states)) or (0, {})
    for name, learner in learners.items():
        learner.progress |= progress.get(name, {})

    # All processes do the same work on their own rows; only the first writes and reports.
    first = fabric.is_global_zero
    recording = Metrics(directory, done) if first and directory else nullcontext()
    with (
        together(fabric),
        compiled(parts, fabric.device.type) as compiling,
        recording as metrics,
    ):
        if first:
            report(done, f"compiling for {settings.steps:,} steps" if compiling else "")
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
    # Otherwise a process could look for files that the first has not written.
    fabric.barrier()
    for learner in learners.values():
        learner.finish()
    return {name: learner.progress["seconds"] for name, learner in learners.items()}
