"""The flow of a run, by its settings."""

from __future__ import annotations

import inspect
import re
from typing import Any

from invflow import _checks, flows
from invflow.flows import Flow
from invflow.flows.named import FLOWS
from invflow.images.config import Config, Format
from invflow.training.batches import generator


def build(config: Config, format: Format) -> Flow:
    """Return an untrained flow over images.

    Args:
        config: the settings.
        format: of the images.

    Raises:
        ValueError: if the flow is unknown, or does not fit the images or a setting.
    """
    name = _checks.choice("flow", config.flow, names())
    described: dict[str, Any] = {"name": name, "generator": generator("cpu", config.seed)}
    if _takes(name, "shape"):
        described |= {"shape": format.shape, "patch": config.patch or 2}
    elif config.patch is not None:
        raise ValueError(f"patch does not apply to the flow {name!r}: leave it out")
    else:
        described["features"] = format.pixels
    if format.classes:
        described["classes" if _takes(name, "classes") else "context"] = len(format.classes)
    if config.transforms is not None:
        described["transforms"] = config.transforms
    if config.hidden_features is not None:
        described["hidden_features"] = config.hidden_features
    try:
        return flows.build(**described)
    except TypeError as error:
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is None or unknown[1] not in described:
            raise
        option = "conditional" if unknown[1] == "context" else unknown[1]
        raise ValueError(
            f"the flow {name!r} does not take {unknown[1]!r}: leave out {option}"
        ) from error


def names() -> list[str]:
    """Return the names of the flows of images."""
    return [
        name
        for name, kind in FLOWS.items()
        if issubclass(kind, Flow) and (_takes(name, "features") or _takes(name, "shape"))
    ]


def _takes(name: str, argument: str) -> bool:
    return argument in inspect.signature(FLOWS[name]).parameters
