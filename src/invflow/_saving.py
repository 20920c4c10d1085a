"""Models on disk: `config.json` and `model.safetensors`, and nothing that runs.

`config.json` records the size and the sha256 of the tensors that belong to it. Both files are whole
on disk before either is renamed, and `config.json` is renamed first. So a kill leaves the old model
or the new one; or, between the two renames, a new `config.json` whose tensors are missing or are
those of the old model, which loading reports. Hidden temporary files may remain, and nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from invflow import _files, _json, _tensors
from invflow._readable import shortened
from invflow._version import __version__

FORMAT = 1
CONFIG = "config.json"
TENSORS = "model.safetensors"
#: Number of characters of a value that messages show.
SHOWN = 40
#: What constructors raise if a configuration is damaged or of another kind.
UNFIT = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError),
    *(RuntimeError, TypeError, ValueError),
)


@dataclass(frozen=True)
class Saved:
    """A model on disk, whose tensors are read last: when a model of their sizes has been built.

    Attributes:
        directory: where it is.
        model: its name.
        config: what rebuilds it.
        sizes: its tensors by name, on the meta device: without numbers.
        sha256: of the file of the tensors; None in files of earlier versions.
    """

    directory: Path
    model: str
    config: dict[str, Any]
    sizes: dict[str, Tensor]
    sha256: str | None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors.

        Raises:
            OSError: if the file cannot be read, or does not fit into memory.
            ValueError: if it is damaged, or was not saved with the configuration.
        """
        return _tensors.read(self.directory / TENSORS, self.sha256)[0]


def write(
    directory: Path,
    model: str,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    beside: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write a model: what rebuilds it, and its tensors. If writing fails, nothing is replaced.

    Args:
        directory: made if it does not exist.
        model: its name.
        config: what rebuilds it.
        state: its tensors.
        beside: further JSON files by name, each of which records the same sha256.

    Raises:
        OSError: if the disk is full, or a file cannot be written.
        TypeError, ValueError: if JSON cannot hold the configuration.
    """
    others = {} if beside is None else beside
    paths = [directory / name for name in (*others, CONFIG, TENSORS)]
    with _files.replacing_all(paths) as (*texts, config_file, tensors):
        _tensors.write_directly(tensors, state)
        record = _tensors.fingerprint(tensors)
        config_file.write_text(_content(model, config, tensors=record), encoding="utf-8")
        for text, content in zip(texts, others.values(), strict=True):
            text.write_text(_json.text({**content, "tensors": record}), encoding="utf-8")


@contextmanager
def fitting(path: Path, what: str) -> Generator[None]:
    """Name the file or directory from which something is built in the block, if that fails.

    Args:
        path: of the file or the directory.
        what: is built, with its article.

    Raises:
        ValueError: if an error is raised that a damaged configuration can cause.
    """
    try:
        yield
    except UNFIT as error:
        text = "".join(each if each.isprintable() else " " for each in str(error))
        reason = shortened(" ".join(text.split())) or type(error).__name__
        raise ValueError(f"{path} does not fit {what}: {reason}") from error


def write_config(directory: Path, model: str, config: Mapping[str, Any], **more: Any) -> None:
    """Write what rebuilds a model, and what else should be known about it."""
    _files.write_text(directory / CONFIG, _content(model, config, **more))


def _content(model: str, config: Mapping[str, Any], **more: Any) -> str:
    content = {"format": FORMAT, "invflow": __version__, "model": model, "config": dict(config)}
    return _json.text({**content, **more})


def read(directory: Path) -> Saved:
    """Return a model on disk, without the numbers in its tensors.

    Raises:
        FileNotFoundError: if a file is missing.
        OSError: if a file cannot be read.
        ValueError: if a file is damaged, of another kind or of another format, or if the two were
            not saved together.
    """
    content = _read_config(directory)
    path = directory / TENSORS
    header = _tensors.header(path)
    size, sha256 = _recorded(directory / CONFIG, content)
    _tensors.check_together(path, size, header.bytes)
    return Saved(directory, content["model"], content["config"], header.sizes, sha256)


def check_beside(path: Path, content: Mapping[str, Any]) -> None:
    """Check that a file was saved with the model beside it.

    Args:
        path: of a file that `write` has written beside a model.
        content: what it holds.

    Raises:
        FileNotFoundError: if there is no model.
        ValueError: if it is another model, or damaged.
    """
    _, own = _recorded(path, content)
    _, sha256 = _recorded(path.parent / CONFIG, _read_config(path.parent))
    _tensors.check_together(path, own, sha256)


def _recorded(path: Path, content: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """Return the size and the sha256 of the tensors; None, None in files of earlier versions."""
    record: Any = content.get("tensors", {"bytes": None, "sha256": None})
    if not isinstance(record, dict) or not {"bytes", "sha256"} <= record.keys():
        raise ValueError(f"{path} was not written by invflow: its tensors lack bytes or sha256")
    return record["bytes"], record["sha256"]


def read_config(directory: Path) -> tuple[str, dict[str, Any]]:
    """Return a model's name and configuration.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if the file cannot be read.
        ValueError: if the file is damaged, of another kind, or of another format.
    """
    content = _read_config(directory)
    return content["model"], content["config"]


def read_versions(directory: Path) -> dict[str, str]:
    """Return the versions that a model or a run was made with, by package.

    Raises:
        FileNotFoundError, OSError, ValueError: as `read_config`.
    """
    content = _read_config(directory)
    versions = {"invflow": content.get("invflow", "?"), **content.get("versions", {})}
    return {str(name): str(version) for name, version in versions.items()}


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    content = read_json(path, ("format", "model", "config"), FORMAT)
    if not isinstance(content["config"], dict) or not isinstance(content["model"], str):
        raise ValueError(
            f"{path} was not written by invflow: its config must be an object and its model a name"
        )
    return content


def read_json(path: Path, keys: Sequence[str], format: int) -> dict[str, Any]:
    """Return a JSON object with certain keys, "format" among them.

    Raises:
        FileNotFoundError: if there is none.
        OSError: if the file cannot be read.
        ValueError: if the file is damaged, of another kind, or of another format.
    """
    content: Any = _json.read(path)
    if not isinstance(content, dict) or not set(keys) <= content.keys():
        lacking = f"{', '.join(keys[:-1])} or {keys[-1]}"
        raise ValueError(f"{path} was not written by invflow: it lacks {lacking}")
    if content["format"] != format or isinstance(content["format"], bool):
        raise ValueError(
            f"{path} has format {short(content['format'])}, written by invflow "
            f"{short(content.get('invflow', '?'))}; this is invflow {__version__}, "
            f"which reads format {format}"
        )
    return cast(dict[str, Any], content)


def short(value: Any) -> str:
    """Return a value from a file as messages show it: short, and without control characters.

    Example:
        >>> short("maf")
        "'maf'"
        >>> short([0] * 100)
        '[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...'
    """
    text = repr(value[: 2 * SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
