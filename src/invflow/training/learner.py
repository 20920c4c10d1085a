"""A model in training, with its optimizer and the average of its weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from invflow._modes import evaluating
from invflow.training.average import Average
from invflow.training.batches import generator
from invflow.training.checkpoint import Stateful
from invflow.training.settings import Settings

#: The scalar loss of a model on the given rows at a step, counted from one. It must call the model
#: itself, not one of its methods.
Loss = Callable[[nn.Module, Tensor, int, torch.Generator], Tensor]
#: What an evaluation measures; the state with the smallest "loss" is kept. A name such as
#: "decoder.loss" is the loss of the submodule `decoder`, which is kept in its own best state.
Evaluate = Callable[[nn.Module], Mapping[str, float]]
#: Training diverges when this many steps in a row are skipped.
PATIENCE = 50
#: The name of the loss of a model, and the last part of that of a submodule.
LOSS = "loss"


@dataclass
class _Recent:
    """What happened since the last evaluation."""

    losses: float = 0.0
    counted: int = 0
    rows: int = 0
    seconds: float = 0.0


class Learner:
    """A model, its optimizer, and its progress.

    Args:
        name: of the model.
        fabric: where to train.
        model: trained in place.
        settings: how to train.
    """

    def __init__(self, name: str, fabric: Any, model: nn.Module, settings: Settings) -> None:
        self.name = name
        self.fabric = fabric
        self.settings = settings
        self.model, self.optimizer = fabric.setup(model, settings.build_optimizer(model))
        self.module: nn.Module = self.model.module
        self.average = (
            Average(self.module, settings.averaging_decay) if settings.averaging_decay else None
        )
        self.smooth = math.nan
        self.rate = math.nan
        self.recently = _Recent()
        self.progress: dict[str, Any] = {
            "seconds": 0.0,
            "skipped": 0,
            "skipped_in_succession": 0,
            "best": {},
            "stale": {},
            "best_state": {},
        }

    @property
    def states(self) -> dict[str, Stateful]:
        """What a checkpoint holds besides `progress`."""
        states: dict[str, Stateful] = {"model": self.module, "optimizer": self.optimizer}
        if self.average is not None:
            states["average"] = self.average
        return {f"{self.name}.{key}": state for key, state in states.items()}

    def update(self, step: int, indices: Tensor, loss: Loss) -> None:
        """Take one step; skip it if the loss or its gradient is not finite.

        Args:
            step: counted from one.
            indices: rows for this device.
            loss: what to minimise.

        Raises:
            FloatingPointError: if `PATIENCE` steps in a row were skipped.
        """
        started = time.perf_counter()
        number, norm = self._backward(step, indices, loss)
        if math.isfinite(number) and math.isfinite(norm):
            self.optimizer.step()
            if self.average is not None:
                self.average.update_parameters(self.module)
            self._count(number)
        else:
            self._skip(step)
        seconds = time.perf_counter() - started
        self.progress["seconds"] += seconds
        self.recently.seconds += seconds
        self.recently.rows += len(indices) * self.fabric.world_size
        self.rate = self.recently.rows / self.recently.seconds

    def measure(
        self, step: int, evaluate: Evaluate
    ) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Return training statistics since the last call, and an evaluation of the model.

        Raises:
            FloatingPointError: if the evaluated loss is not finite.
        """
        return self._recent(), self._evaluate(step, evaluate)

    @property
    def has_converged(self) -> bool:
        """Whether training stops here, because all parts have stopped improving."""
        stale = self.progress["stale"].values()
        return 0 < self.settings.patience <= min(stale, default=0)

    def finish(self) -> None:
        """Put the model into its best evaluated state."""
        self.module.load_state_dict(self.progress["best_state"])

    def __str__(self) -> str:
        line = f"{self.name} {self.smooth:.2f} {self.rate:.0f}/s"
        skipped = self.progress["skipped"]
        return f"{line} {skipped} skipped" if skipped else line

    def _backward(self, step: int, indices: Tensor, loss: Loss) -> tuple[float, float]:
        """Compute the clipped gradient; return the mean loss of all devices, and the full norm."""
        fabric, settings = self.fabric, self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate_after(step - 1)
        # Each of several devices draws its own noise.
        device = (fabric.global_rank,) if fabric.world_size > 1 else ()
        noise = generator(fabric.device, settings.seed, step, *device)
        self.optimizer.zero_grad(set_to_none=True)
        value = loss(self.model, indices, step, noise)
        fabric.backward(value)
        norm = fabric.clip_gradients(
            self.model,
            self.optimizer,
            max_norm=settings.max_gradient_norm,
            error_if_nonfinite=False,
        )
        # Averaging makes a value that is not finite on one device so on all: all skip the step.
        # Both are read at once, because each read waits for the device.
        number, size = fabric.all_reduce(torch.stack([value.detach(), norm])).tolist()
        return number, size

    def _count(self, number: float) -> None:
        self.smooth = number if math.isnan(self.smooth) else 0.95 * self.smooth + 0.05 * number
        self.recently.losses += number
        self.recently.counted += 1
        self.progress["skipped_in_succession"] = 0

    def _skip(self, step: int) -> None:
        self.progress["skipped"] += 1
        self.progress["skipped_in_succession"] += 1
        if self.progress["skipped_in_succession"] >= PATIENCE:
            raise FloatingPointError(
                f"training of {self.name} diverged at step {step}: the loss or its gradient was "
                f"not finite for {PATIENCE} steps in a row; try a smaller learning_rate"
            )

    def _recent(self) -> dict[str, float]:
        """Return the mean loss (NaN if every step was skipped) and the speed."""
        recently, self.recently = self.recently, _Recent()
        return {
            "loss": recently.losses / recently.counted if recently.counted else math.nan,
            "seconds": self.progress["seconds"],
            "rate": recently.rows / recently.seconds,
            "skipped": self.progress["skipped"],
        }

    def _evaluate(self, step: int, evaluate: Evaluate) -> Mapping[str, float]:
        """Evaluate the model, and remember the parts that are the best so far."""
        module = self.module if self.average is None else self.average.module
        with torch.no_grad(), evaluating(self.module, module):
            values = evaluate(module)
        if not math.isfinite(values["loss"]):
            raise FloatingPointError(
                f"the validation loss of {self.name} at step {step} is {values['loss']}"
            )
        losses = {name[: -len(LOSS)]: values[name] for name in values if _is_loss(name)}
        for part in losses:
            _check_part(module, part)
        if len(losses) > 1:
            del losses[""]  # of the whole, which its parts make up
        better = tuple(part for part, loss in losses.items() if self._is_better(part, loss))
        best = self.progress["best_state"]
        for key, tensor in module.state_dict().items():
            if key not in best or key.startswith(better):
                best[key] = tensor.detach().clone()
        return values

    def _is_better(self, part: str, loss: float) -> bool:
        """Whether the loss of a part is its smallest so far; count how long it has not been."""
        best, stale = self.progress["best"], self.progress["stale"]
        better = loss < best.get(part, math.inf)
        # A part that has run out of patience may still improve while others are trained.
        stopped = 0 < self.settings.patience <= stale.get(part, 0)
        stale[part] = 0 if better and not stopped else stale.get(part, 0) + 1
        if better:
            best[part] = loss
        return better


def _is_loss(name: str) -> bool:
    return name.rpartition(".")[2] == LOSS


def _check_part(module: nn.Module, part: str) -> None:
    try:
        module.get_submodule(part.removesuffix("."))
    except AttributeError as error:
        raise ValueError(
            f"evaluate gives {part + LOSS!r}, but the model has no submodule "
            f"{part.removesuffix('.')!r}; give another name to a measurement that is not its loss"
        ) from error
