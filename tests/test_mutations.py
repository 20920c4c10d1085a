"""Files of all kinds, damaged by chance: one clear line, and nothing else happens.

Runs, models and data are made once. Each mutation damages one file of a copy, in which it is then
read: by the library, and by a command. No process may die, no exception be raised other than
`ValueError`, `TypeError` and `OSError`, no message have several lines, and no file change.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.mutations.mutate import copied, mutate
from tests.mutations.subjects import SUBJECTS

#: The subjects of the test that always runs, which are the quickest, and its number of mutations.
QUICK, FEW = ("flow", "estimator", "density run", "tables"), 8
#: The number of mutations of the slow test, of all subjects.
MANY = 600
#: What of a command's work is in the current directory.
OUT = re.compile(r"out\.\w+|\.root")
#: An error that was not meant for users: the command line puts its class before it.
FOREIGN = re.compile(r"^invflow: [A-Z]\w*(Error|Exception|Warning)\b")


class Server:
    """A process that makes subjects, and uses each in a child of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.mutations.server"],
            cwd=Path(__file__).parents[1],
            # Arrow's own allocator reserves addresses by the gigabyte.
            env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self, root: Path, name: str, what: str) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(
            json.dumps({"root": str(root), "name": name, "what": what}) + "\n"
        )
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def server() -> Generator[Server]:
    server = Server()
    yield server
    server.close()


Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def made(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return what makes the directory of a subject, once, and sees that it can be read."""

    @cache
    def directory(name: str) -> Path:
        subject = SUBJECTS[name]
        root = tmp_path_factory.mktemp("made") / "whole"
        root.mkdir()
        ways = ["load", *map(str, range(len(subject.commands)))]
        for what in ("make", *ways, *(["resume"] if subject.resume else [])):
            assert server(root, name, what) == {}, (name, what)
        return root

    return directory


def _contents(root: Path) -> dict[str, str]:
    """Return what is below a directory: files by their sha256, what else there is by its kind."""
    return {
        path.relative_to(root).as_posix(): _content(path)
        for path in sorted(root.rglob("*"))
        if not OUT.fullmatch(path.name)
    }


def _content(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if not path.is_file():
        return "directory" if path.is_dir() else "pipe"
    if path.stat().st_size > 2**30:  # sparse
        return f"{path.stat().st_size} bytes"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _faults(server: Server, source: Path, root: Path, name: str, seed: int) -> list[str]:
    """Return what goes wrong when a file of a copy is damaged."""
    draw = random.Random(f"{name} {seed}")
    copied(source, root)
    subject = SUBJECTS[name]
    files = sorted({path for glob in subject.files for path in root.glob(glob) if path.is_file()})
    path = draw.choice(files)
    ways = ["load"]
    if subject.commands:
        ways.append(str(draw.randrange(len(subject.commands))))
    if subject.resume:
        ways.append("resume")
    if subject.resume and "checkpoints" in path.parts:
        for results in root.rglob("results.json"):  # unfinished, or no checkpoint is read
            results.unlink()
    how = mutate(path, draw)
    found: list[str] = []
    for what in ways:
        before = _contents(root)
        outcome = server(root, name, what)
        changed = _contents(root) != before
        error = outcome.get("error")
        wrong = (
            error is None and changed and what != "resume" and not subject.trains,
            error is not None and changed,
            not outcome.get("known", True),
            error is not None and (not error.strip() or "\n" in error.strip()),
            error is not None and what != "load" and bool(FOREIGN.match(error)),
        )
        if any(wrong):
            say = f"{outcome.get('kind')}: {error} {outcome.get('where', '')}"[:2000]
            found.append(
                f"{name} {seed}: {path.relative_to(root)} {how}, {what}: "
                f"{'changed, ' if changed else ''}{say}"
            )
    shutil.rmtree(root)
    return found


def _all_faults(server: Server, made: Made, root: Path, names: Sequence[str], count: int) -> Any:
    """Return what goes wrong in this number of mutations, of each subject in turn."""
    turns = [(names[i % len(names)], i // len(names)) for i in range(count)]
    return [
        fault
        for name, seed in turns
        for fault in _faults(server, made(name), root / "copy", name, seed)
    ]


def test_a_few_mutations(server: Server, made: Made, tmp_path: Path) -> None:
    assert _all_faults(server, made, tmp_path, QUICK, FEW) == []


@pytest.mark.slow
def test_many_mutations(server: Server, made: Made, tmp_path: Path) -> None:
    assert _all_faults(server, made, tmp_path, list(SUBJECTS), MANY) == []
