"""A base distribution and a transform: a family of distributions indexed by a context."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Size, Tensor, nn

from invflow import _checks, _saving
from invflow.flows.base import Base, StandardNormal
from invflow.flows.distribution import FlowDistribution
from invflow.transforms import Transform

FlowT = TypeVar("FlowT", bound="Flow")


class Flow(nn.Module):
    """A normalizing flow: call it, with a context where it has one, for a distribution.

    Args:
        transform: maps noise to data.
        base: the distribution of the noise; a standard normal by default.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: a base over another number of features.

    Example:
        >>> import torch
        >>> from invflow.transforms import Elementwise
        >>> flow = Flow(Elementwise(features=3, context=2))
        >>> q = flow(torch.randn(5, 2))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([3]))
        >>> x, log_q = q.rsample_and_log_prob((10,))
        >>> torch.allclose(q.log_prob(x), log_q, atol=1e-5)
        True
    """

    #: The name under which the flow is saved, and the arguments that rebuild it. Flows put together
    #: by hand have none, and are saved by their `state_dict`.
    name: ClassVar[str | None] = None
    config: dict[str, Any]

    def __init__(self, transform: Transform, base: Base | None = None) -> None:
        super().__init__()
        if not isinstance(transform, Transform):
            raise TypeError(f"transform must be a Transform, got {type(transform).__name__}")
        base = StandardNormal(transform.features) if base is None else base
        if not isinstance(base, Base):
            raise TypeError(f"base must be a Base, got {type(base).__name__}")
        if base.features != transform.features:
            raise ValueError(
                f"base must be over {transform.features} features, got {base.features}"
            )
        self.transform = transform
        self.base = base

    @property
    def features(self) -> int:
        """Size of the vectors, D."""
        return self.transform.features

    @property
    def context(self) -> int:
        """Size of the context, 0 for none."""
        return self.transform.context

    def forward(
        self, context: Tensor | None = None, *, validate_args: bool | None = None
    ) -> FlowDistribution:
        """Return the distribution at a context.

        Args:
            context: shape (*batch, context), or None where none was declared.
            validate_args: check values given to the distribution; None for torch's default.

        Raises:
            TypeError: a context of the wrong type or dtype.
            ValueError: a context missing, not wanted, of the wrong size or on another device.
        """
        like = next(self.parameters(), None)
        if like is None:
            like = torch.empty(0)
        batch_shape = context.shape[:-1] if isinstance(context, Tensor) else Size()
        _checks.context(context, self.context, batch_shape, like)
        return FlowDistribution(
            self.transform, self.base, context, batch_shape, like, validate_args
        )

    def save_pretrained(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a directory, each whole or not at all.

        Args:
            directory: made if it does not exist.

        Raises:
            ValueError: a flow without a name, or with a part that has none.
        """
        if self.name is None:
            raise ValueError(
                f"flow: a {type(self).__name__} put together by hand has no configuration to save; "
                "save its state_dict() instead"
            )
        if not isinstance(self.config["conditioner"], str):
            raise ValueError(
                "conditioner: only a flow whose conditioner was given by name can be saved, "
                f"got {self.config['conditioner']!r}"
            )
        _saving.write(Path(directory), self.name, self.config, self.state_dict())

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, device: str | torch.device = "cpu") -> Self:
        """Return the flow that `save_pretrained` has written. No code from the files is run.

        Args:
            directory: where it was saved.
            device: where to put it.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, foreign or newer than this version, or holds another
                kind of flow than the class asked for.
        """
        path = Path(directory)
        name, config = _saving.read_config(path)
        state, _ = _saving.read_tensors(path / _saving.TENSORS)
        kinds: dict[str, Callable[..., Self]] = {
            str(kind.name): kind for kind in _descendants(cls) if kind.name is not None
        }
        if name not in kinds:
            raise ValueError(
                f"{path} holds the model {name!r}, expected one of {', '.join(sorted(kinds))}"
            )
        try:
            # Numbers of its own, because loading is no reason to advance the caller's.
            flow = kinds[name](**config, generator=torch.Generator().manual_seed(0))
            dtype = next((v.dtype for v in state.values() if v.is_floating_point()), None)
            flow.to(dtype=dtype).load_state_dict(state)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} does not fit a flow {name!r}: {error}") from error
        return flow.to(device=device)


def _descendants(cls: type[FlowT]) -> Iterator[type[FlowT]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _descendants(child)
