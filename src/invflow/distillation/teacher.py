"""Teachers: a flow, a distribution, or a log density with or without samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from invflow import _checks
from invflow._log_density import checked, scores
from invflow._modes import evaluating
from invflow.distillation.drawn import drawn
from invflow.flows import Flow, FlowMixture


class Draws(NamedTuple):
    """Vectors, (rows, features), and the contexts they were drawn at, (rows, context), or None."""

    x: Tensor
    context: Tensor | None

    def rows(self, index: Tensor | slice) -> Draws:
        """Return some of the rows."""
        return Draws(self.x[index], None if self.context is None else self.context[index])


class Teacher(ABC):
    """A log density over vectors, with draws from it if available.

    A subclass defines `draws` and `_log_prob`.

    Args:
        features: size of the vectors, D.
        like: a tensor with the dtype and device of the vectors.
        contexts: contexts to train at, shape (rows, context), drawn with equal weights; None for a
            density without context.
        context: size of the density's context; None for that of `contexts`.

    Raises:
        TypeError: if `contexts` is not a tensor, or has another dtype.
        ValueError: if `contexts` is missing, not allowed, empty or of the wrong size.
    """

    def __init__(
        self, features: int, like: Tensor, contexts: Tensor | None, context: int | None = None
    ) -> None:
        self.features = _checks.positive_integer("features", features)
        self.like = like
        self.context = _context(contexts, context)
        if contexts is not None:
            contexts = _rows("contexts", contexts, self.context, like)
        self.contexts = contexts

    def at(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Return `count` contexts, drawn with replacement; None if the density has none."""
        if self.contexts is None:
            return None
        chosen = torch.randint(
            len(self.contexts), (count,), generator=generator, device=generator.device
        )
        return self.contexts[chosen.to(self.contexts.device)]

    @abstractmethod
    def draws(self, count: int, generator: torch.Generator) -> Draws | None:
        """Return at most `count` draws and their contexts; None if the teacher has no samples."""

    @abstractmethod
    def _log_prob(self, x: Tensor, context: Tensor | None) -> Any: ...

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log density in nats, shape (batch,), without a gradient.

        Args:
            x: shape (batch, features).
            context: shape (batch, context), or None.

        Raises:
            TypeError: if the log density is not a floating-point tensor.
            ValueError: if it has the wrong shape.
        """
        with torch.no_grad():
            return checked(self._log_prob(x, context), x.shape[:-1])

    def scores(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the log density, (batch,), and its gradient with respect to `x`, both detached.

        The teacher's parameters do not receive gradients.

        Raises:
            TypeError: if the log density is not a floating-point tensor.
            ValueError: if it has the wrong shape, or no gradient.
        """
        return scores(lambda point: self._log_prob(point, context), x)


class FlowTeacher(Teacher):
    """A flow, a mixture of flows, or any distribution of vectors, with any number of draws.

    A flow is evaluated in evaluation mode.

    Args:
        model: a `Flow` or `FlowMixture`, or a torch distribution without batch dimensions.
        contexts: contexts to train at, shape (rows, context), for a flow with a context.

    Raises:
        TypeError: if `model` or `contexts` has another type.
        ValueError: if a distribution has another shape, or `contexts` is missing, not allowed or
            of the wrong size.

    Example:
        >>> from invflow.flows import MAF
        >>> teacher = FlowTeacher(MAF(features=2, context=1), torch.randn(100, 1))
        >>> teacher.draws(5, torch.Generator().manual_seed(0)).x.shape
        torch.Size([5, 2])
    """

    def __init__(
        self, model: Flow | FlowMixture | Distribution, contexts: Tensor | None = None
    ) -> None:
        self.model = model
        if isinstance(model, Distribution):
            if len(model.batch_shape) or len(model.event_shape) != 1:
                raise ValueError(
                    "model must be a distribution of vectors without batch dimensions, got batch "
                    f"shape {tuple(model.batch_shape)} and event shape {tuple(model.event_shape)}"
                )
            like = drawn(model, (), torch.Generator().manual_seed(0))
            super().__init__(model.event_shape[0], like, contexts, 0)
        elif isinstance(model, Flow | FlowMixture):
            like = model.like if isinstance(model, Flow) else next(model.parameters())
            super().__init__(model.features, like.detach(), contexts, model.context)
        else:
            raise TypeError(
                f"model must be a flow or a distribution, got {type(model).__name__}; "
                "for a log density use a DensityTeacher"
            )

    def _at(self, context: Tensor | None) -> Distribution:
        if isinstance(self.model, Distribution):
            return self.model
        return self.model(context, validate_args=False)

    @torch.no_grad()
    def draws(self, count: int, generator: torch.Generator) -> Draws:
        context = self.at(count, generator)
        shape = (count,) if context is None else ()
        with evaluating(*self._models):
            return Draws(drawn(self._at(context), shape, generator), context)

    def _log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        with evaluating(*self._models):
            return self._at(context).log_prob(x)

    @property
    def _models(self) -> list[nn.Module]:
        return [self.model] if isinstance(self.model, nn.Module) else []


class DensityTeacher(Teacher):
    """A log density, up to a constant, with or without samples.

    Args:
        log_density: takes vectors, (batch, features), and contexts, (batch, context), if there are
            any; returns (batch,).
        features: size of the vectors, D.
        samples: draws from the density, shape (rows, features), if available.
        contexts: contexts to train at, shape (rows, context); with samples, one for each. None for
            a density without context.
        like: a tensor with the dtype and device of the vectors, if there are no samples or
            contexts; by default torch's default.

    Raises:
        TypeError: if `log_density` is not a function, or `samples` is not a tensor.
        ValueError: if `samples` has the wrong shape, fewer than two rows, or values that are not
            finite, or has another number of rows than `contexts`.

    Example:
        >>> teacher = DensityTeacher(lambda x: -0.5 * x.square().sum(-1), features=3)
        >>> teacher.log_prob(torch.ones(2, 3))
        tensor([-1.5000, -1.5000])
    """

    def __init__(
        self,
        log_density: Callable[..., Tensor],
        features: int,
        *,
        samples: Tensor | None = None,
        contexts: Tensor | None = None,
        like: Tensor | None = None,
    ) -> None:
        if not callable(log_density):
            raise TypeError(f"log_density must be a function, got {type(log_density).__name__}")
        self.log_density = log_density
        if samples is not None:
            features = _checks.positive_integer("features", features)
            samples = _rows("samples", samples, features, like, fewest=2)
        known = [each for each in (samples, contexts, like) if each is not None]
        super().__init__(features, known[0] if known else torch.empty(0), contexts)
        if samples is not None and contexts is not None and len(samples) != len(contexts):
            raise ValueError(
                f"contexts must have one row for each of the {len(samples)} samples, "
                f"got {len(contexts)}"
            )
        self.samples = samples

    def draws(self, count: int, generator: torch.Generator) -> Draws | None:
        """Return `count` of the samples in random order, or all if there are fewer."""
        if self.samples is None:
            return None
        order = torch.randperm(len(self.samples), generator=generator, device=generator.device)
        return Draws(self.samples, self.contexts).rows(order[:count].to(self.samples.device))

    def _log_prob(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.log_density(x) if context is None else self.log_density(x, context)


def as_teacher(teacher: Any) -> Teacher:
    """Return a teacher, made from a flow or a distribution if necessary.

    Raises:
        TypeError: if it is something else.
        ValueError: as `FlowTeacher`.
    """
    if isinstance(teacher, Teacher):
        return teacher
    if isinstance(teacher, Flow | FlowMixture | Distribution):
        return FlowTeacher(teacher)
    raise TypeError(
        f"teacher must be a Teacher, a flow or a distribution, got {type(teacher).__name__}; "
        "for a log density use a DensityTeacher"
    )


def check_fits(student: Flow, teacher: Teacher) -> None:
    """Check that a student has the sizes of its teacher.

    Raises:
        ValueError: if it does not.
    """
    if (student.features, student.context) != (teacher.features, teacher.context):
        raise ValueError(
            f"student must have {teacher.features} features and a context of {teacher.context}, "
            f"like the teacher, got {student.features} and {student.context}"
        )


def _context(contexts: Tensor | None, size: int | None) -> int:
    if contexts is None:
        if size:
            raise ValueError(f"contexts of shape (rows, {size}) are required, got None")
        return 0
    if size == 0:
        raise ValueError("contexts must be None, because the teacher has no context")
    return size or (contexts.shape[-1] if isinstance(contexts, Tensor) and contexts.ndim else 0)


def _rows(name: str, value: Tensor, size: int, like: Tensor | None, fewest: int = 1) -> Tensor:
    """Return a table of finite numbers, detached."""
    _checks.event(name, value, size, like)
    if value.ndim != 2 or len(value) < fewest:
        raise ValueError(
            f"{name} must have shape (rows, {size}) with at least {fewest} rows, "
            f"got {tuple(value.shape)}"
        )
    if not value.isfinite().all():
        bad = int((~value.isfinite()).any(-1).sum())
        raise ValueError(f"{name} must be finite, got {bad} rows with NaN or infinity")
    return value.detach()
