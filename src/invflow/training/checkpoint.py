"""Checkpoints: all that is needed to resume to the same numbers, as tensors and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from torch import Tensor

from invflow import _saving, _tensors


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

    A file records the sha256 of what it holds, so that a damaged one is never resumed from.

    Args:
        directory: where they are.
        keep: number of the newest to keep.
        of: what tells this training from others; "" not to ask.
    """

    def __init__(self, directory: Path, keep: int = 2, of: str = "") -> None:
        self.directory = directory
        self.keep = keep
        self.of = of

    def save(self, step: int, states: Mapping[str, Stateful], extra: Mapping[str, Any]) -> None:
        """Write the states of modules and optimizers after `step` steps.

        Args:
            step: number of steps done.
            states: what has a state, by name.
            extra: JSON values and tensors to keep beside them.

        Raises:
            OSError: if the disk is full, or the file cannot be written.
        """
        content = {name: state.state_dict() for name, state in states.items()}
        tensors: dict[str, Tensor] = {}
        structure = _extract({"states": content, "extra": dict(extra)}, "", tensors)
        strings = {"step": str(step), "structure": json.dumps(structure), "of": self.of}
        strings["sha256"] = _tensors.digest_of(tensors, strings)
        _tensors.write(self._path(step), tensors, strings)
        for old in self._files()[: -self.keep]:
            old.unlink()
        # What a kill has left half written.
        for stale in self.directory.glob(".step-*"):
            stale.unlink()

    def load(self, states: Mapping[str, Stateful]) -> tuple[int, dict[str, Any]] | None:
        """Set the states from the newest checkpoint; return its step and extras, None if none.

        Raises:
            OSError: if the newest file cannot be read, or does not fit into memory.
            ValueError: if it is damaged, belongs to another training, or does not fit the states.
        """
        files = self._files()
        if not files:
            return None
        path = files[-1]
        tensors, strings = _tensors.read(path)
        recorded = strings.pop("sha256", None)  # none in files of earlier versions
        if recorded not in (None, _tensors.digest_of(tensors, strings)):
            raise ValueError(
                f"{path} is damaged; remove it to resume from the checkpoint before it"
            )
        if self.of and strings.get("of", self.of) != self.of:
            raise ValueError(
                f"{self.directory} holds checkpoints of another training, with other data or "
                "settings; choose another directory, or remove this one"
            )
        with _saving.fitting(path, "this run"):
            content = _insert(json.loads(strings["structure"]), tensors)
            step, extra = int(strings["step"]), content["extra"]
            if path.name != self._path(step).name or not isinstance(extra, dict):
                raise ValueError(f"its step is {step}")
            for name, state in states.items():
                state.load_state_dict(content["states"][name])
        return step, cast(dict[str, Any], extra)

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}.safetensors"

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
