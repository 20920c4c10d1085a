"""Models of images on disk: `config.json` and `model.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from invflow import _checks, _saving
from invflow._pretrained import check_savable, restored
from invflow._registry import Registry
from invflow.flows import build as build_flow
from invflow.vae.likelihoods.choice import described, rebuilt

ModelT = TypeVar("ModelT", bound=nn.Module)


def save(
    model: nn.Module, arguments: Mapping[str, Any], directory: Path, models: Registry[Any]
) -> None:
    """Write a model.

    Args:
        model: a model of images.
        arguments: those that rebuild it; None for a posterior, prior or network that was an object.
        directory: created if it does not exist.
        models: the classes that can be saved, by name.

    Raises:
        OSError: if the disk is full, or a file cannot be written.
        TypeError: if the model has several precisions.
        ValueError: if a part has no name, or has been changed since the model was built.
    """
    name, own = models.name_of(type(model)), type(model).__name__
    if name is None:
        raise ValueError(
            f"the class {own} has no name by which it could be rebuilt: register it with "
            'invflow.vae.MODELS["my-name"] = ' + f"{own}, or save its state_dict() instead"
        )
    config = _config(model, arguments)
    check_savable(model, lambda: _built(type(model), config))
    _saving.write(directory, name, config, model.state_dict())


def load(
    cls: type[ModelT], directory: Path, device: str | torch.device, models: Registry[Any]
) -> ModelT:
    """Return a model that was saved, in evaluation mode.

    Args:
        cls: its class, or a base of it.
        directory: where it was saved.
        device: where to put it.
        models: the classes that can be saved, by name.

    Raises:
        FileNotFoundError: if a file is missing.
        OSError: if a file cannot be read, or does not fit into memory.
        ValueError: if a file is damaged, foreign or newer than this version, if the files were not
            saved together, or if they hold another kind of model.
    """
    saved = _saving.read(directory)
    kinds = {name: kind for name, kind in models.items() if issubclass(kind, cls)}
    if saved.model == "vae-run":
        raise ValueError(
            f"{directory} holds a VAE run; load it with invflow.vae.run.load(directory).model()"
        )
    if saved.model not in kinds:
        raise ValueError(
            f"{directory} holds the model {saved.model!r}, expected one of "
            f"{', '.join(sorted(kinds))}"
        )
    kind = kinds[saved.model]
    what = f"a model {saved.model!r}"
    return restored(saved, what, lambda: _built(kind, saved.config), device).eval()


def _config(model: nn.Module, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that rebuild a model, as JSON can hold them.

    Raises:
        ValueError: if a part has no name.
    """
    parts: Mapping[str, Any] = vars(model)["_modules"]
    config = {**arguments, "likelihood": described(parts["likelihood"])}
    if config.get("posterior", "") is None:
        config["posterior"] = parts["posterior"].described()
    for part in ("prior", "network"):
        if config.get(part, "") is None:
            raise ValueError(
                f"{part} was given as an object, which a configuration cannot rebuild: give a "
                "name, or save the model's state_dict() instead"
            )
    return _checks.plain(config)


def _built(kind: type[ModelT], config: Mapping[str, Any]) -> ModelT:
    """Return a new model from its configuration."""
    parts: dict[str, Any] = {"likelihood": rebuilt(config["levels"], **config["likelihood"])}
    if isinstance(flow := config.get("posterior"), Mapping):
        parts["posterior"] = build_flow(**flow)
    return kind(**{**config, **parts})
