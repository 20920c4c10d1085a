"""Training of models of images, on rows that are in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from invflow import _checks, _tensors, training
from invflow.training.loop import Report
from invflow.training.progress import progress as bar
from invflow.vae.models.base import Elbo, LatentModel
from invflow.vae.objective import Objective

#: With this many validation rows, one draw each is enough; with fewer, several are taken.
ENOUGH = 2048
Model = TypeVar("Model", bound=LatentModel)


class Rows(NamedTuple):
    """Rows of a part of the data.

    Attributes:
        levels: as `observe` takes them, (rows, pixels) or (rows, *shape).
        given: what a conditional model depends on, (rows, C); None if it is not conditional.
    """

    levels: Tensor
    given: Tensor | None = None


def fit(
    model: Model,
    train: Tensor,
    validation: Tensor,
    *,
    given: tuple[Tensor, Tensor] | tuple[None, None] | None = None,
    objective: Objective | None = None,
    steps: int = 6000,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.1,
    max_gradient_norm: float = 50.0,
    evaluate_every: int = 200,
    patience: int = 0,
    accelerator: str = "cpu",
    precision: str = "32-true",
    directory: str | Path | None = None,
    progress: bool = True,
    seed: int = 0,
) -> Model:
    """Train a model in place, as `invflow vae` does, and return it in its best evaluated state.

    AdamW, with a learning rate that decays to zero along a cosine and clipped gradients. The loss
    on validation rows decides which state is best.

    Args:
        model: a `VAE` or a `ResNetVAE`; weight-normalised networks after `networks.starting`, and
            real numbers after `likelihood.standardise`.
        train: training rows, levels or real numbers, (rows, pixels) or (rows, *shape).
        validation: validation rows, in the same form.
        given: what a conditional model depends on, (rows, C), of each of the two.
        objective: what to train by; None for the evidence lower bound, with a warm-up over a third
            of the steps, at most 10,000.
        steps: number of updates.
        batch_size: rows per update.
        learning_rate: initial learning rate.
        weight_decay: of AdamW.
        max_gradient_norm: gradients with a larger norm are scaled down to it.
        evaluate_every: steps between evaluations.
        patience: stop after this many evaluations without improvement; 0 for never.
        accelerator: "cpu", "cuda", "auto", ... as in Lightning Fabric.
        precision: "32-true", "64-true" or "bf16-mixed".
        directory: for checkpoints, from which training resumes, `metrics.csv` and TensorBoard
            events; None to write nothing.
        progress: whether to show a progress bar.
        seed: random seed of batches and noise.

    Returns:
        The model.

    Raises:
        ImportError: if an extra is not installed.
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range, rows are not what the model observes, `given`
            does not fit, or a checkpoint is damaged or belongs to another run.
        FloatingPointError: if the training diverges.

    Example:
        >>> from invflow.images import data
        >>> from invflow.vae import VAE
        >>> images = data.load("digits")
        >>> vae = VAE(images.shape, images.levels, latents=2, hidden_features=(16,))
        >>> fit(vae, images.train, images.validation, steps=5, progress=False).sample(3).shape
        torch.Size([3, 64])
    """
    if not isinstance(model, LatentModel):
        raise TypeError(f"model must be a VAE or a ResNetVAE, got {type(model).__name__}")
    steps = _checks.positive_integer("steps", steps)
    if given is None:
        given = None, None
    elif not model.given:
        raise ValueError("given must be None, because the model is not conditional")
    elif not isinstance(given, Sequence):
        raise TypeError(f"given must be a pair of tensors, got {type(given).__name__}")
    elif len(given) != 2:
        raise ValueError(f"given must be a pair, for train and validation, got {len(given)}")
    if objective is not None and not isinstance(objective, Objective):
        raise TypeError(f"objective must be an Objective, got {type(objective).__name__}")
    parts = (
        _rows(model, "train", train, given[0]),
        _rows(model, "validation", validation, given[1]),
    )
    settings = training.Settings(
        steps=steps,
        batch_size=_checks.positive_integer("batch_size", batch_size),
        optimizer="adamw",
        learning_rate=_checks.positive("learning_rate", learning_rate),
        schedule="cosine",
        weight_decay=_checks.number("weight_decay", weight_decay),
        averaging_decay=0.0,
        max_gradient_norm=_checks.positive("max_gradient_norm", max_gradient_norm),
        seed=_checks.positive_integer("seed", seed, minimum=0),
        evaluate_every=_checks.positive_integer("evaluate_every", evaluate_every),
        patience=patience,
    )
    aim = Objective(warmup=default_warmup(steps)) if objective is None else objective
    fabric = training.launch(accelerator, 1, precision)
    place = None if directory is None else Path(directory)
    of = "" if place is None else _digest(parts, aim)
    run = partial(learn, {"model": model}, *parts, aim, settings, fabric, place, of=of)
    if _checks.boolean("progress", progress):
        with bar("training", steps) as report:
            run(report)
    else:
        run()
    return model


def default_warmup(steps: int) -> int:
    """Return the number of steps over which the weight of the KL divergence rises.

    Without a warm-up, latents that do not help at once are pressed onto the prior, and stay there.
    """
    return min(steps // 3, 10_000)


def learn(
    models: Mapping[str, LatentModel],
    train: Rows,
    validation: Rows,
    aim: Objective,
    settings: training.Settings,
    fabric: Any,
    directory: Path | None,
    report: Report = lambda step, line: None,
    parts: Sequence[nn.Module] = (),
    of: str = "",
) -> dict[str, float]:
    """Train models side by side, leave each in its best state, and return seconds by model.

    Args:
        models: by name; trained in place.
        train: training rows.
        validation: validation rows.
        aim: what to train by.
        settings: how to train.
        fabric: where to train.
        directory: of the run; None to write nothing.
        report: called after every step.
        parts: of the models, to compile while they are trained.
        of: as for `training.fit`.
    """
    levels, held = train.levels.flatten(1), validation.levels.flatten(1)
    draws = max(1, min(8, ENOUGH // len(held)))

    def loss(trained: nn.Module, rows: Tensor, step: int, noise: torch.Generator) -> Tensor:
        # Levels are checked where they are: on an accelerator each look at them would wait for it.
        rows = rows.cpu()
        given = None if train.given is None else train.given[rows]
        return trained(levels[rows], given, step, noise)

    def evaluate(trained: nn.Module) -> dict[str, float]:
        model = cast(_Trained, trained).model
        noise = torch.Generator(model.like.device).manual_seed(settings.seed)
        x = torch.cat([model.observe(part, noise) for part in held.split(model.at_once)])
        given = None if validation.given is None else validation.given.to(model.like)
        pieces = model.pieces(x, given, model.at_once)
        elbos = [model.elbo(part, noise, c) for part, c in pieces for _ in range(draws)]
        whole = Elbo(*(torch.cat(each) for each in zip(*elbos, strict=True)))
        # What is kept is what is best by the loss that the training ends with.
        value = aim.amended(whole, aim.warmup + 1)
        if aim.train_samples > 1:
            rows = max(1, model.at_once // aim.train_samples)
            pieces = [piece for part in pieces for piece in model.pieces(*part, rows)]
            bounds = [model.importance_bound(x, aim.train_samples, noise, c) for x, c in pieces]
            value = -torch.cat(bounds).mean()
        return {
            "loss": float(value),
            "bound": float(whole.bound.mean()),
            "kl": float(whole.kl.mean()),
        }

    trained = {name: _Trained(model, aim) for name, model in models.items()}
    return training.fit(
        fabric, trained, len(levels), loss, evaluate, settings, directory, report, parts, of
    )


def _digest(parts: Sequence[Rows], aim: Objective) -> str:
    """Return a digest of what is learned, and by what."""
    tensors = {
        f"{k} {name}": v for k, part in enumerate(parts) for name, v in part._asdict().items()
    }
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    return _tensors.digest_of(kept, {name: str(value) for name, value in asdict(aim).items()})


class _Trained(nn.Module):
    """A model whose call is the loss of rows, as data parallel training wants it."""

    def __init__(self, model: LatentModel, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(
        self, levels: Tensor, given: Tensor | None, step: int, noise: torch.Generator
    ) -> Tensor:
        x = self.model.observe(levels, noise)
        c = None if given is None else given.to(self.model.like)
        return self.objective.loss(self.model, x, step, noise, c)


def _rows(model: LatentModel, name: str, levels: Any, given: Any) -> Rows:
    """Return the rows of a part, if the model can observe them."""
    if not isinstance(levels, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(levels).__name__}")
    if levels.ndim < 2 or not len(levels):
        raise ValueError(f"{name} must have rows of pixels, got shape {tuple(levels.shape)}")
    noise = torch.Generator(model.like.device).manual_seed(0)
    for part in levels.split(model.at_once):
        model.observe(part, noise)
    if not model.given:
        return Rows(levels)
    shape = tuple(given.shape) if isinstance(given, Tensor) else given
    if shape != (len(levels), model.given):
        raise ValueError(
            f"given must have shape ({len(levels)}, {model.given}) for {name}, got {shape}; "
            "one_hot makes it from labels"
        )
    if bad := int((~given.isfinite()).any(1).sum()):
        raise ValueError(f"given must be finite, got NaN or infinity in {bad} rows for {name}")
    return Rows(levels, given)
