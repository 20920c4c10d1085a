"""Models that have a name and a configuration: built, saved and loaded by them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

import torch
from invflow import _checks, _saving
from invflow._part import Part

NamedT = TypeVar("NamedT", bound="Named")


class Named(Part):
    """A model that `config.json` and `model.safetensors` can hold.

    A subclass with a `name` of its own takes its configuration as arguments, and keeps it in
    `config`.
    """

    #: The name under which the model is built and saved; None for one put together by hand.
    name: ClassVar[str | None] = None
    #: The arguments that rebuild it.
    config: dict[str, Any]

    @classmethod
    def kinds(cls) -> dict[str, Callable[..., Self]]:
        """Return this class and those derived from it, by name."""
        return {
            str(kind.name): kind for kind in _descendants(cls) if vars(kind).get("name") is not None
        }

    def described(self) -> dict[str, Any]:
        """Return the name and the configuration, as `build` takes them.

        Raises:
            ValueError: a model without a name, or with a part that has none.
        """
        if self.name is None:
            raise ValueError(
                f"flow: a {type(self).__name__} put together by hand has no configuration to save; "
                "save its state_dict() instead"
            )
        for key, value in self.config.items():
            try:
                json.dumps(value)
            except TypeError as error:
                raise ValueError(
                    f"{key}: only a flow whose {key} was given by name can be saved, got {value!r}"
                ) from error
        return {"name": self.name, **self.config}

    def save_pretrained(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a directory, each whole or not at all.

        Args:
            directory: made if it does not exist.

        Raises:
            ValueError: a model without a name, or with a part that has none.
        """
        config = self.described()
        _saving.write(Path(directory), config.pop("name"), config, self.state_dict())

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, device: str | torch.device = "cpu") -> Self:
        """Return the model that `save_pretrained` has written. No code from the files is run.

        Args:
            directory: where it was saved.
            device: where to put it.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is truncated, foreign or newer than this version, or holds another
                kind of model than the class asked for.
        """
        path = Path(directory)
        name, config = _saving.read_config(path)
        state, _ = _saving.read_tensors(path / _saving.TENSORS)
        kinds = cls.kinds()
        if name not in kinds:
            raise ValueError(
                f"{path} holds the model {name!r}, expected one of {', '.join(sorted(kinds))}"
            )
        try:
            with torch.random.fork_rng(devices=[]):  # loading is no reason to draw numbers
                model = kinds[name](**config)
            dtype = next((v.dtype for v in state.values() if v.is_floating_point()), None)
            model.to(dtype=dtype).load_state_dict(state)
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise ValueError(f"{path} does not fit a flow {name!r}: {error}") from error
        return model.to(device=device)


def build(name: str, **config: Any) -> Any:
    """Return a new flow by name.

    Args:
        name: that of a flow: "iaf", "maf", ...
        **config: its arguments.

    Raises:
        TypeError: arguments that the flow does not have.
        ValueError: an unknown name, or an argument out of range.

    Example:
        >>> build("iaf", features=3, transforms=2).features
        3
    """
    kinds = Named.kinds()
    return kinds[_checks.choice("name", name, kinds)](**config)


def built(name: str, what: Any, generator: torch.Generator | None) -> Any:
    """Return the flow that a mapping with a "name" describes; anything else as it is.

    Args:
        name: what the mapping is called, for errors.
        what: a flow, or a mapping with the "name" and the arguments of one.
        generator: random numbers for its initial weights.

    Raises:
        TypeError: arguments that the flow does not have.
        ValueError: no name, an unknown one, or an argument out of range.
    """
    if not isinstance(what, Mapping):
        return what
    config = cast(Mapping[str, Any], what)
    if "name" not in config:
        raise ValueError(f'{name} must have a "name", got a mapping with {sorted(config)}')
    return build(**config, generator=generator)


def _descendants(cls: type[NamedT]) -> Iterator[type[NamedT]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _descendants(child)
