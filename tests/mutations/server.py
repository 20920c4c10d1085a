"""A process that makes subjects, and forks for each use of one.

Each line on stdin is a task: a directory, the name of what is in it, and what to do there: "make",
"load", "resume" or the number of a command. Each line on stdout says how that ended. Children have
limits of memory and time; whatever becomes of one, the next task is done.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

MEMORY = 2**30
SECONDS = 60


def main() -> None:
    import torch

    from tests.mutations.subjects import SUBJECTS, run

    torch.set_num_threads(1)

    def do(root: Path, name: str, what: str) -> dict[str, Any]:
        os.chdir(root)
        subject = SUBJECTS[name]
        if what in ("make", "load"):
            try:
                (subject.make if what == "make" else subject.load)(root)
            except Exception as error:
                kind = type(error).__name__
                known = isinstance(error, ValueError | TypeError | OSError)
                return {"error": str(error), "kind": kind, "known": known, "where": _where()}
            return {}
        command = subject.resume if what == "resume" else subject.commands[int(what)]
        assert command is not None
        try:
            said = run(command)
        except BaseException as error:
            return {"error": repr(error), "kind": "traceback", "known": False, "where": _where()}
        return {"error": str(said), "kind": "exit", "known": True} if said else {}

    out = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "r+b") as nothing:
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)
    for line in sys.stdin:
        task = json.loads(line)
        use = partial(do, Path(task["root"]), task["name"], task["what"])
        # Made here, so that no child needs to import what making imports.
        found = use() if task["what"] == "make" else _apart(use)
        out.write(json.dumps(found) + "\n")
        out.flush()


def _where() -> str:
    return "".join(traceback.format_exc()[-1500:])


def _apart(do: Any) -> dict[str, Any]:
    """Return what is found in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            found = json.dumps(do())
        except BaseException:
            found = json.dumps({"error": _where(), "kind": "harness", "known": False})
        with open(writing, "w") as file:
            file.write(found)
        os._exit(0)
    os.close(writing)
    found = b""
    timeout = SECONDS
    while select.select([reading], [], [], timeout)[0] and (part := os.read(reading, 65_536)):
        found += part
        timeout = 10
    os.close(reading)
    if not found:
        pid, status = os.waitpid(child, os.WNOHANG)
        if not pid:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return {"error": f"more than {SECONDS} s", "kind": "timeout", "known": False}
        return {"error": f"status {status}", "kind": "crash", "known": False}
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return json.loads(found)


if __name__ == "__main__":
    main()
