"""What is learned from: a flow, a distribution, or a log density with or without samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from invflow import _checks
from invflow._modes import evaluating
from invflow.distillation.drawn import drawn
from invflow.flows import Flow, FlowMixture


class Draws(NamedTuple):
    """Vectors, (rows, features), and what they were drawn at, (rows, context), or None."""

    x: Tensor
    context: Tensor | None

    def rows(self, index: Tensor | slice) -> Draws:
        """Return some of the rows."""
        return Draws(self.x[index], None if self.context is None else self.context[index])


class Teacher(ABC):
    """A log density over vectors, and draws from it where there are any.

    A subclass gives `draws` and `_log_prob`.

    Args:
        features: size of the vectors, D.
        like: a tensor of the dtype and on the device of the vectors.
        contexts: those to learn at, shape (rows, context), drawn from with equal weights; None
            for a density without context.
        context: size of the context that the density takes; None for that of `contexts`.

    Raises:
        TypeError: contexts that are no tensor, or of another dtype.
        ValueError: contexts missing, not wanted, empty or of another size.
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
        """Return `count` contexts, drawn with replacement; None where the density has none."""
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
            context: shape (batch, context), or None where there is none.

        Raises:
            TypeError: the log density is no tensor, or of an integer dtype.
            ValueError: it has another shape.
        """
        with torch.no_grad():
            return self._checked(self._log_prob(x, context), x)

    def scores(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the log density, (batch,), and its gradient with respect to `x`, both detached.

        The teacher's own parameters get no gradient.

        Raises:
            TypeError: the log density is no tensor, or of an integer dtype.
            ValueError: it has another shape, or no gradient.
        """
        point = x.detach().requires_grad_()
        with torch.enable_grad():
            value = self._checked(self._log_prob(point, context), x)
            if not value.requires_grad:
                raise ValueError(
                    "the teacher's log density must be differentiable, got values without a "
                    "gradient: is the argument detached, or turned into a numpy array?"
                )
            (slope,) = torch.autograd.grad(value.sum(), point, materialize_grads=True)
        return value.detach(), slope

    def _checked(self, value: Any, x: Tensor) -> Tensor:
        if not isinstance(value, Tensor):
            raise TypeError(
                f"the teacher's log density must be a tensor, got {type(value).__name__}"
            )
        if not value.is_floating_point():
            raise TypeError(
                f"the teacher's log density must be floating-point, got dtype {value.dtype}"
            )
        if value.shape != x.shape[:-1]:
            raise ValueError(
                f"the teacher's log density must have shape {tuple(x.shape[:-1])}, one number for "
                f"each vector, got {tuple(value.shape)}"
            )
        return value


class FlowTeacher(Teacher):
    """A flow, a mixture of flows, or any distribution of vectors: it gives draws without end.

    A flow is in evaluation mode whenever it is looked at.

    Args:
        model: a `Flow` or `FlowMixture`, or a torch distribution without batch dimensions.
        contexts: those to learn at, shape (rows, context), for a flow that has a context.

    Raises:
        TypeError: `model` is something else; contexts of another type.
        ValueError: a distribution of another shape; contexts missing, not wanted or of another
            size.

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
                "a DensityTeacher takes a log density"
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
    """A function that gives a log density, perhaps up to a constant, perhaps with samples.

    Args:
        log_density: takes vectors, (batch, features), and, where there are contexts, these,
            (batch, context); gives (batch,).
        features: size of the vectors, D.
        samples: draws from the density, shape (rows, features), if there are any.
        contexts: those to learn at, shape (rows, context); one for each of the samples, where
            there are samples. None for a density without context.
        like: a tensor of the dtype and on the device of the vectors, where samples and contexts do
            not tell; by default a new one of torch's.

    Raises:
        TypeError: a function that cannot be called, samples that are no tensor.
        ValueError: samples of another shape, fewer than two, or not finite; not as many contexts.

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
                f"contexts must be one for each of the {len(samples)} samples, got {len(contexts)}"
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
    """Return a teacher, made of a flow or a distribution where it is none yet.

    Raises:
        TypeError: something else.
        ValueError: as `FlowTeacher`.
    """
    if isinstance(teacher, Teacher):
        return teacher
    if isinstance(teacher, Flow | FlowMixture | Distribution):
        return FlowTeacher(teacher)
    raise TypeError(
        "teacher must be a Teacher, a flow or a distribution, got "
        f"{type(teacher).__name__}; a DensityTeacher makes one of a log density"
    )


def _context(contexts: Tensor | None, size: int | None) -> int:
    if contexts is None:
        if size:
            raise ValueError(f"contexts of shape (rows, {size}) are required, got None")
        return 0
    if size == 0:
        raise ValueError("contexts must be None, as the teacher has no context")
    return size or (contexts.shape[-1] if isinstance(contexts, Tensor) and contexts.ndim else 0)


def _rows(name: str, value: Tensor, size: int, like: Tensor | None, fewest: int = 1) -> Tensor:
    """Return a table of finite numbers without its graph."""
    _checks.event(name, value, size, like)
    if value.ndim != 2 or len(value) < fewest:
        raise ValueError(
            f"{name} must have shape (rows, {size}) with {fewest} rows or more, "
            f"got {tuple(value.shape)}"
        )
    if not value.isfinite().all():
        bad = int((~value.isfinite()).any(-1).sum())
        raise ValueError(f"{name} must be finite, got {bad} rows with NaN or infinity")
    return value.detach()
