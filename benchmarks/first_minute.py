"""Time of the first calls of invflow in a new process, compared with later ones.

Each process imports torch, then invflow, and then does three things 30 times each:

- sample: `IAF(4)().sample((3,))`;
- gradient of rsample: a loss of `IAF(4)().rsample_and_log_prob((3,))` and its backward pass;
- gradient of log_prob: a loss of `IAF(4)().log_prob(x)` and its backward pass.

"first" is the first time, "later" the median of the rest, both in milliseconds; "CPU" is the
processor time of the first. Home and the folders of caches are empty when the first process of an
installation begins, as on a new machine: it is the row "new machine". The others find what it has
left: the rows "new process" are medians over them.

Python's garbage collector examines everything that importing torch has created once, which takes
about 80 ms. Any later import or first call may trigger it by creating enough new objects; so here
it runs right after torch is imported, in a row of its own.

    python benchmarks/first_minute.py [--processes 5] [--also LABEL=PYTHON[:TREE] ...]

`--also` alternates with another installation: its interpreter and, to use it instead of the
installed package, a source tree of invflow.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

DTYPES = "float32", "float64"
REPEATS = 30
#: Milliseconds on the clock and of the processor, by what was done, in the order of its repeats.
Times = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True)
class Installation:
    """An interpreter, and what is put in front of its packages."""

    python: str
    path: str

    @staticmethod
    def parse(text: str) -> tuple[str, Installation]:
        """Read "LABEL=PYTHON[:TREE]"."""
        label, _, rest = text.partition("=")
        python, _, tree = rest.partition(":")
        if not (label and python):
            raise argparse.ArgumentTypeError(f"expected LABEL=PYTHON[:TREE], got {text!r}")
        return label, Installation(python, str(Path(tree).resolve() / "src") if tree else "")

    def once(self, dtype: str, home: str) -> Times:
        """Return what a new process measures."""
        environment = {
            **os.environ,
            "HOME": home,
            "XDG_CACHE_HOME": f"{home}/.cache",
            "PYTHONPATH": self.path,
        }
        # pip leaves bytecode, a source tree may not.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        found = subprocess.run(
            [self.python, __file__, "--once", dtype],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return json.loads(found.stdout.splitlines()[-1])


def measure(dtype: str) -> Times:
    """Return the times of this process."""
    times: Times = {}

    def note(name: str, call: Callable[[], object]) -> None:
        clock, processor = time.perf_counter(), time.process_time()
        call()
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        times.setdefault(name, []).append((1e3 * clock, 1e3 * processor))

    note("import torch", lambda: __import__("torch"))
    note("garbage collection", gc.collect)
    note("import invflow", lambda: __import__("invflow"))
    import torch

    import invflow

    torch.set_default_dtype(getattr(torch, dtype))
    x = torch.randn(3, 4)

    def forwards() -> None:
        value, log_q = invflow.IAF(4)().rsample_and_log_prob((3,))
        (value.sum() + log_q.sum()).backward()

    for _ in range(REPEATS):
        note("sample", lambda: invflow.IAF(4)().sample((3,)))
    for _ in range(REPEATS):
        note("gradient of rsample", forwards)
    for _ in range(REPEATS):
        note("gradient of log_prob", lambda: invflow.IAF(4)().log_prob(x).sum().backward())
    return times


def rows(label: str, dtype: str, when: str, found: list[Times]) -> list[list[str]]:
    """Return the lines of the table for processes of a kind."""
    lines: list[list[str]] = []
    for name in found[0]:
        first = statistics.median(times[name][0][0] for times in found)
        processor = statistics.median(times[name][0][1] for times in found)
        repeated = [[clock for clock, _ in times[name][1:]] for times in found]
        later = [statistics.median(each) for each in repeated if each]
        usual = statistics.median(later) if later else None
        ratio = ["", ""] if usual is None else [f"{usual:.3g}", f"{first / usual:.3g}"]
        cells = [f"{first:.3g}", f"{processor:.3g}", *ratio]
        lines.append([label, dtype, when, name, *cells])
    return lines


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--processes", type=int, default=5, help="number of processes of each kind (default: 5)"
    )
    parser.add_argument("--also", type=Installation.parse, action="append", default=[])
    parser.add_argument("--once", choices=DTYPES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.once:
        print(json.dumps(measure(options.once)))
        return
    here = Installation(sys.executable, os.environ.get("PYTHONPATH", ""))
    installations = {"invflow": here, **dict(options.also)}
    found: dict[tuple[str, str], list[Times]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.processes + 1):
            for dtype in DTYPES:
                for label, installation in installations.items():
                    print(f"process {turn + 1} of {label}, {dtype} ...", file=sys.stderr)
                    home = Path(folder) / label / dtype
                    home.mkdir(parents=True, exist_ok=True)
                    times = installation.once(dtype, str(home))
                    found.setdefault((label, dtype), []).append(times)
    lines: list[list[str]] = []
    for (label, dtype), times in found.items():
        lines += rows(label, dtype, "new machine", times[:1])
        lines += rows(label, dtype, "new process", times[1:])

    import torch
    from directions import environment, table

    about = environment(torch.get_num_threads())
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    header = ["installation", "dtype", "", "", "first, ms", "CPU, ms", "later, ms", "first / later"]
    print("\n" + table(header, lines))


if __name__ == "__main__":
    main(sys.argv[1:])
