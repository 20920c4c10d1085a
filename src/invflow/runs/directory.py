"""The directory of a run: made, or found to hold the same run, which is then resumed."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from invflow import _files, _json, _saving
from invflow._tensors import fingerprint, matches
from invflow.runs import own, places

if TYPE_CHECKING:  # it needs pydantic, of which the settings of each kind say the extra
    from invflow.runs.settings import Config

T = TypeVar("T")
ConfigT = TypeVar("ConfigT", bound="Config")

RESULTS = "results.json"
#: Packages whose versions are recorded.
PACKAGES = ("torch", "numpy", "safetensors")
#: Endings of the hidden directories next to a run that is being overwritten: the old run, the new
#: one, and what is being removed.
ENDINGS = (".old", ".new", ".gone")
#: Number of characters shown of a wrong value.
SHOWN_CHARACTERS = 40


class Input(NamedTuple):
    """What a run reads.

    Attributes:
        path: where it is; None if it is known by its name.
        sha256: of its content.
    """

    path: Path | None
    sha256: str


@dataclass(frozen=True)
class Begun(Generic[ConfigT]):
    """What the directory of a run says of it, finished or not.

    Attributes:
        config: its settings.
        inputs: what it reads, by the names of the settings that give them.
        facts: what else is known of the inputs.
    """

    config: ConfigT
    inputs: Mapping[str, Input]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self, directory: Path) -> dict[str, Any]:
        """Return it for the `config.json` of a directory."""
        inputs = {
            name: {
                "path": None if each.path is None else places.noted(each.path, directory),
                "sha256": each.sha256,
            }
            for name, each in self.inputs.items()
        }
        settings = self.config.model_dump(mode="json")
        return {"settings": settings, "inputs": inputs, "facts": dict(self.facts)}

    def difference(self, asked: Begun[ConfigT]) -> str:
        """Return how this run differs from another one, as text; nothing if it does not."""
        for name in type(asked.config).model_fields:
            old, new = getattr(self.config, name), getattr(asked.config, name)
            # The same input may be reached by another path.
            if old != new and name not in {**self.inputs, **asked.inputs}:
                return f"different settings ({name} is {old}, not {new})"
        # After the settings, which may say what is read of the inputs.
        for name in {**self.inputs, **asked.inputs}:
            there, new = self.inputs.get(name), asked.inputs.get(name)
            if there is None or new is None or there.sha256 != new.sha256:
                return f"different {name}"
        return ""


@dataclass(frozen=True)
class Kind(Generic[ConfigT]):
    """A kind of run.

    Args:
        name: what `config.json` calls it.
        title: the same as text.
        config: class of its settings.
        reads: the settings that name what it reads; those that are None name nothing.
        files: what it learns, relative to its directory.
    """

    name: str
    title: str
    config: type[ConfigT]
    reads: tuple[str, ...]
    files: tuple[str, ...]

    def begun(self, directory: Path) -> Begun[ConfigT]:
        """Return what the directory of a run says of it.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is damaged, or of another kind or version.
        """
        name, content = _held(directory)
        if name != self.name:
            raise ValueError(f"{directory} holds a {name!r}, expected a {self.title}")
        try:
            inputs = {
                str(name): Input(
                    None if each["path"] is None else places.found(each["path"], directory),
                    str(each["sha256"]),
                )
                for name, each in content["inputs"].items()
            }
            config = self.config(**content["settings"])
            reads = {name for name in self.reads if getattr(config, name) is not None}
            if inputs.keys() != reads:
                raise ValueError(f"inputs: {sorted(inputs)}, expected {sorted(reads)}")
            return Begun(config, inputs, dict(content["facts"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{directory} has settings that this version of invflow cannot read "
                f"({_reason(error)}); train it again with --overwrite, or choose another --name"
            ) from error

    def prepare(self, directory: Path, asked: Begun[ConfigT], *, overwrite: bool) -> None:
        """Make the directory of a run, or see that it holds the same run, to resume it.

        A run that is overwritten is whole in its place until the new one takes it.

        Raises:
            FileExistsError: if it holds another run or something else, or if more would be lost
                than the run that is overwritten.
        """
        place = _resolved(directory)
        old, new, gone = (place.parent / f".{place.name}{ending}" for ending in ENDINGS)
        if old.is_dir() and not place.exists():  # killed before the new run had taken its place
            old.rename(place)
        taken = own.is_taken(place)
        self.check(directory, asked, overwrite=overwrite)
        if taken and not overwrite:
            own.remove_half_written(place)
            return
        versions = {name: version(name) for name in PACKAGES}
        versions["python"] = platform.python_version()
        content = asked.to_json(directory)
        if not taken:
            _saving.write_config(place, self.name, content, versions=versions)
            return
        for left in (new, old, gone):
            shutil.rmtree(left, ignore_errors=True)
        _saving.write_config(new, self.name, content, versions=versions)
        shutil.copymode(place, new)
        place.rename(old)
        new.rename(place)
        old.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def check(self, directory: Path, asked: Begun[ConfigT], *, overwrite: bool) -> None:
        """See that `prepare` may be called, and change nothing.

        Raises:
            FileExistsError: if it may not.
        """
        place = _resolved(directory)
        if not own.is_taken(place):
            return
        try:
            is_same_kind = kind_of(directory) == self.name
        except (OSError, ValueError):
            is_same_kind = False
        if not is_same_kind:
            raise FileExistsError(
                f"{directory} exists and is not a {self.title}; choose another --name"
            )
        if overwrite:
            own.check_loss(directory, [each.path for each in asked.inputs.values() if each.path])
            return
        try:
            different = self.begun(directory).difference(asked)
        except ValueError as error:
            raise FileExistsError(str(error)) from error
        if different:
            raise FileExistsError(
                f"{directory} holds a run with {different}; choose another --name, or replace it "
                "with --overwrite"
            )

    def finish(self, directory: Path, results: Mapping[str, Any]) -> None:
        """Write the results of a run, and the sizes and digests of the files that it has learned.

        Args:
            directory: of the run.
            results: JSON values, without NaN or infinity.
        """
        files = {name: fingerprint(directory / name) for name in self.files}
        content = {"files": files, "results": dict(results)}
        _files.write_text(directory / RESULTS, _json.text(content))

    def results(self, directory: Path, read: Callable[[Any], T]) -> T:
        """Return the results of a finished run.

        Args:
            directory: of the run.
            read: makes them of JSON values; raises KeyError, TypeError or ValueError if it cannot.

        Raises:
            FileNotFoundError: if a file of the run is missing.
            ValueError: if it is unfinished, damaged, or not as it was when the run finished.
        """
        if not is_finished(directory):
            raise ValueError(
                f"{directory} holds an unfinished run; the command that started it resumes it"
            )
        path = directory / RESULTS
        try:
            content = _json.read(path)
            files, results = dict(content["files"]), read(content["results"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} does not hold the results of this run: {_reason(error)}"
            ) from error
        for name in self.files:
            if not matches(directory / name, files.get(name)):
                raise ValueError(
                    f"{directory / name} has changed since the run finished; restore it, or train "
                    "again with --overwrite"
                )
        return results


def is_finished(directory: Path) -> bool:
    """Return whether the directory holds the results of a run, which are written last."""
    return os.path.lexists(directory / RESULTS)  # whatever it is: reading it says what is wrong


def kind_of(directory: Path) -> str:
    """Return the name of what a directory holds.

    Raises:
        FileNotFoundError: if there is no such directory.
        ValueError: if it is a file, or holds nothing that invflow has written.
    """
    return _held(directory)[0]


def _held(directory: Path) -> tuple[str, dict[str, Any]]:
    if directory.is_file():
        raise ValueError(f"{directory} is a file; expected the directory of a run")
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory} does not exist")
    return _saving.read_config(directory)


def _reason(error: Exception) -> str:
    """Return what is wrong in one line; the first of pydantic's errors."""
    if isinstance(error, KeyError):
        return f"there is no {error}"
    if not (errors := getattr(error, "errors", None)):
        return str(error).partition("\n")[0]
    first = errors()[0]
    got = repr(first["input"])
    shown = got if len(got) <= SHOWN_CHARACTERS else f"{got[:SHOWN_CHARACTERS]}..."
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {shown}"


def _resolved(directory: Path) -> Path:
    """Return where a directory is, links followed.

    Raises:
        FileExistsError: if it is a broken link.
    """
    if directory.is_symlink() and not directory.exists():
        raise FileExistsError(f"{directory} is a broken link; remove it, or choose another --name")
    return directory.resolve()
