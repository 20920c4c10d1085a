"""One measurement in a fresh process, which prints its results as lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

#: What a line with a result begins with.
MARK = "ROW "


def say(result: Mapping[str, Any]) -> None:
    """Print a result of a worker."""
    print(MARK + json.dumps(result), flush=True)


def results(
    script: str, arguments: Sequence[str], environment: Mapping[str, str], limit: float
) -> tuple[list[dict[str, Any]], str]:
    """Run a script, and return the results that it printed, and the last line of its errors.

    Args:
        script: the path of the script.
        arguments: of its command line.
        environment: variables beside those of this process.
        limit: seconds after which it is stopped.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [sys.executable, "-W", "ignore", script, *arguments],
                env={**os.environ, **environment},
                stdout=out,
                stderr=error,
                timeout=limit,
                check=False,
            )
        out.seek(0)
        error.seek(0)
        found = [json.loads(line[len(MARK) :]) for line in out if line.startswith(MARK)]
        return found, (error.read().strip().splitlines() or ["too long"])[-1]
