"""Flows on disk: `config.json` and `model.safetensors`, and nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from invflow import _files
from invflow._version import __version__

FORMAT = 1
CONFIG = "config.json"
TENSORS = "model.safetensors"


def write(
    directory: Path, name: str, config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Write a model's name, configuration and tensors; each file appears whole or not at all."""
    text = json.dumps(
        {"format": FORMAT, "invflow": __version__, "model": name, "config": dict(config)},
        indent=2,
    )
    tensors = {key: value.detach().contiguous() for key, value in state.items()}
    directory.mkdir(parents=True, exist_ok=True)
    with _files.replacing(directory / TENSORS) as temporary:
        safetensors.torch.save_file(tensors, temporary)
    _files.write_text(directory / CONFIG, text + "\n")


def read(directory: Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Return the name, configuration and tensors that `write` has written.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is truncated, of another kind, or of a newer format.
    """
    name, config = _read_config(directory / CONFIG)
    return name, config, read_tensors(directory / TENSORS)


def _read_config(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a whole JSON file: {error}") from error
    if not isinstance(content, dict) or not {"format", "model", "config"} <= content.keys():
        raise ValueError(f"{path} was not written by invflow: it lacks format, model or config")
    if content["format"] != FORMAT:
        raise ValueError(
            f"{path} has format {content['format']!r}, written by invflow "
            f"{content.get('invflow', '?')}; this is invflow {__version__}, "
            f"which reads format {FORMAT}"
        )
    return content["model"], content["config"]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is truncated or of another kind.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
