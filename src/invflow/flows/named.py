"""Models with a name and a configuration, by which they are built, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self, cast

import torch
from torch import Tensor

from invflow import _saving
from invflow._part import Part
from invflow._pretrained import check_savable, restored
from invflow._registry import Registry, registering


class Named(Part):
    """A model that can be saved as `config.json` and `model.safetensors`.

    A subclass with its own `name` takes its configuration as arguments and keeps it in `config`;
    the name is its key in `FLOWS`.
    """

    #: The name by which the model is built and saved; None for one built from parts.
    name: ClassVar[str | None] = None
    #: The arguments that rebuild it.
    config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if (name := vars(cls).get("name")) is not None:
            FLOWS[name] = cls

    @classmethod
    def kinds(cls) -> dict[str, Callable[..., Self]]:
        """Return this class and its subclasses, by name."""
        return {name: kind for name, kind in FLOWS.items() if issubclass(kind, cls)}

    def described(self) -> dict[str, Any]:
        """Return the name and the configuration, as `build` takes them.

        Raises:
            ValueError: if the model, or a part of it, has no name.
        """
        name, own = FLOWS.name_of(type(self)), type(self).__name__
        if self.name is None:
            raise ValueError(
                f"flow: a {own} built from parts has no configuration to save; "
                "save its state_dict() instead"
            )
        if name is None:
            raise ValueError(
                f"flow: the class {own} has no name of its own, only its parent's ({self.name!r}): "
                'set name = "my-name" in the class, or save its state_dict() instead'
            )
        for key, value in self.config.items():
            json.dumps(value, default=partial(_nameless, key))
        return {"name": name, **self.config}

    def save_pretrained(self, directory: str | Path) -> None:
        """Write `config.json` and `model.safetensors` into a directory.

        Each file appears whole or not at all, and `config.json` records the sha256 of the other.

        Args:
            directory: created if it does not exist.

        Raises:
            OSError: if the disk is full, or a file cannot be written.
            TypeError: if the model has several precisions.
            ValueError: if the model or a part of it has no name, or has been changed since it was
                built.
        """
        _saving.write(Path(directory), *self.saved())

    def saved(self) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
        """Return what `save_pretrained` writes: the name, the configuration and the tensors.

        Raises:
            TypeError: if the model has several precisions.
            ValueError: if the model or a part of it has no name, or has been changed since it was
                built.
        """
        config, state = self.described(), self.state_dict()
        check_savable(self, lambda: build(**config))
        return config["name"], {k: v for k, v in config.items() if k != "name"}, state

    @classmethod
    def from_pretrained(cls, directory: str | Path, *, device: str | torch.device = "cpu") -> Self:
        """Return the model that `save_pretrained` wrote. Loading never runs code from the files.

        Args:
            directory: where it was saved.
            device: where to put it.

        Raises:
            FileNotFoundError: if a file is missing.
            OSError: if a file cannot be read, or does not fit into memory.
            ValueError: if a file is damaged, foreign or newer than this version, if the files were
                not saved together, or if they hold another kind of model than this class.
        """
        saved = _saving.read(Path(directory))
        name, kinds = saved.model, cls.kinds()
        if name not in kinds:
            raise ValueError(
                f"{directory} holds the model {name!r}, expected one of {', '.join(sorted(kinds))}"
            )

        def completed() -> Self:
            config = _as_written({**saved.config, "name": name})
            del config["name"]
            return kinds[name](**config)

        return restored(saved, f"a flow {name!r}", completed, device)


#: Every flow, by name.
FLOWS = Registry[type[Named]]("name", "invflow.flows.named.FLOWS", Named)


def _as_written(config: Any) -> Any:
    """Return a configuration from a file, completed with the defaults of the time it was written.

    An IAF without `input_bound` was saved before bounds existed.
    """
    if isinstance(config, list):
        return [_as_written(each) for each in cast(list[Any], config)]
    if not isinstance(config, dict):
        return config
    whole = {name: _as_written(each) for name, each in cast(dict[str, Any], config).items()}
    saved = (
        whole.get("name") == "iaf" and "inverse" in whole
    )  # written by the library, not by the user
    return {"input_bound": None, **whole} if saved else whole


def build(name: str, **config: Any) -> Any:
    """Return a new flow by name.

    Args:
        name: name of the flow: "iaf", "maf", ...
        **config: its arguments.

    Raises:
        TypeError: if the flow does not have an argument.
        ValueError: if the name is unknown, or an argument is out of range.

    Example:
        >>> build("iaf", features=3, transforms=2).features
        3
    """
    return cast(Any, FLOWS.choose(name))(**config)


def built(name: str, what: Any, generator: torch.Generator | None) -> Any:
    """Return the flow that a mapping with a "name" describes; return anything else unchanged.

    Args:
        name: name of the argument, for errors.
        what: a flow, or a mapping with the "name" and arguments of one.
        generator: random numbers for its initial weights.

    Raises:
        TypeError: if the flow does not have an argument.
        ValueError: if the name is missing or unknown, or an argument is out of range.
    """
    if not isinstance(what, Mapping):
        return what
    config = cast(Mapping[str, Any], what)
    if "name" not in config:
        raise ValueError(f'{name} must have a "name", got a mapping with {sorted(config)}')
    return build(**config, generator=generator)


def _nameless(key: str, part: Any) -> NoReturn:
    """Raise the error for a part of a configuration that was not given by name."""
    remedy = registering(part if isinstance(part, type) else type(part))
    raise ValueError(
        f"{key}: only a flow whose {key} was given by name can be saved, got {part!r}"
        + (f"; name its class before the flow is built: {remedy}" if remedy else "")
    )
