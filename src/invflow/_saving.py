"""Models on disk: `config.json` and `model.safetensors`, and nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
from torch import Tensor

from invflow import _files
from invflow._version import __version__

FORMAT = 1
CONFIG = "config.json"
TENSORS = "model.safetensors"


def write(
    directory: Path, model: str, config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Write a model: what rebuilds it, and its tensors. If one fails, neither is replaced."""
    with _files.replacing(directory / CONFIG) as temporary:
        temporary.write_text(_content(model, config), encoding="utf-8")
        write_tensors(directory / TENSORS, state)


def write_config(directory: Path, model: str, config: Mapping[str, Any], **more: Any) -> None:
    """Write what rebuilds a model, and what else is worth knowing of it."""
    _files.write_text(directory / CONFIG, _content(model, config, **more))


def _content(model: str, config: Mapping[str, Any], **more: Any) -> str:
    content = {"format": FORMAT, "invflow": __version__, "model": model, "config": dict(config)}
    return json.dumps({**content, **more}, indent=2) + "\n"


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, and strings beside them, as a safetensors file."""
    # Clones, because safetensors refuses tensors that share memory.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with _files.replacing(path) as temporary:
        safetensors.torch.save_file(whole, temporary, dict(metadata or {}))


def read_json(path: Path, keys: Sequence[str], format: int) -> dict[str, Any]:
    """Return a JSON object with certain keys, "format" among them.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is truncated, of another kind, or of another format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole JSON file: {error}") from error
    if not isinstance(content, dict) or not set(keys) <= content.keys():
        lacking = f"{', '.join(keys[:-1])} or {keys[-1]}"
        raise ValueError(f"{path} was not written by invflow: it lacks {lacking}")
    if content["format"] != format:
        raise ValueError(
            f"{path} has format {content['format']!r}, written by invflow "
            f"{content.get('invflow', '?')}; this is invflow {__version__}, "
            f"which reads format {format}"
        )
    return cast(dict[str, Any], content)


def read_config(directory: Path) -> tuple[str, dict[str, Any]]:
    """Return a model's name and configuration.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is truncated, of another kind, or of a newer format.
    """
    path = directory / CONFIG
    content = read_json(path, ("format", "model", "config"), FORMAT)
    if not isinstance(content["config"], dict):
        raise ValueError(f"{path} was not written by invflow: its config is not a mapping")
    return str(content["model"]), content["config"]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, and the strings beside them.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is truncated or of another kind.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    # Whole into memory: tensors that map the file would change, or end the process, with it.
    content = path.read_bytes()
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    size = int.from_bytes(content[:8], "little")
    return tensors, json.loads(content[8 : 8 + size]).get("__metadata__", {})
