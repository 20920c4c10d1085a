"""Checkpoints: all that is needed to go on to the same numbers, as tensors and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from invflow import _saving


class Stateful(Protocol):
    """What has a state: modules, optimizers."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Set the state."""
        ...


class Checkpoints:
    """The checkpoints of a run, newest last; each file appears whole or not at all.

    Args:
        directory: where they are.
        keep: how many of the newest to keep.
    """

    def __init__(self, directory: Path, keep: int = 2) -> None:
        self.directory = directory
        self.keep = keep

    def save(self, step: int, states: Mapping[str, Stateful], extra: Mapping[str, Any]) -> None:
        """Write the states of modules and optimizers after `step` steps.

        Args:
            step: number of steps done.
            states: what has a state, by name.
            extra: JSON values and tensors to keep beside them.
        """
        content = {name: state.state_dict() for name, state in states.items()}
        tensors: dict[str, Tensor] = {}
        structure = _extract({"states": content, "extra": dict(extra)}, "", tensors)
        metadata = {"step": str(step), "structure": json.dumps(structure)}
        _saving.write_tensors(self.directory / f"step-{step:08d}.safetensors", tensors, metadata)
        for old in self._files()[: -self.keep]:
            old.unlink()
        # What a kill has left half written.
        for stale in self.directory.glob(".step-*"):
            stale.unlink()

    def load(self, states: Mapping[str, Stateful]) -> tuple[int, dict[str, Any]] | None:
        """Set the states from the newest checkpoint; return its step and extras, None if none.

        Raises:
            ValueError: the newest file is damaged, or does not fit the states.
        """
        files = self._files()
        if not files:
            return None
        tensors, metadata = _saving.read_tensors(files[-1])
        try:
            content = _insert(json.loads(metadata["structure"]), tensors)
            for name, state in states.items():
                state.load_state_dict(content["states"][name])
            return int(metadata["step"]), content["extra"]
        except (AttributeError, KeyError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(f"{files[-1]} does not fit this run: {error}") from error

    def _files(self) -> list[Path]:
        return sorted(self.directory.glob("step-*.safetensors"))


def _extract(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Replace the tensors in a nested state by their names, and every mapping by its items."""
    if isinstance(value, Tensor):
        tensors[path] = value.clone()
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {"items": [[k, _extract(v, f"{path}.{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_extract(v, f"{path}.{i}", tensors) for i, v in enumerate(value)]}
    return {"value": value}


def _insert(structure: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `_extract`."""
    ((kind, content),) = structure.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "items":
            return {k: _insert(v, tensors) for k, v in content}
        case "list":
            return [_insert(v, tensors) for v in content]
        case _:
            return content
