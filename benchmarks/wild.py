"""Tables as people have them, read, learned and drawn from by the command line: a page of them.

For every text file in a folder: its command, what it says, ten rows of the table and ten drawn.
The files behind `docs/how-to/wild.md` are well-known small data sets, taken as they were found.

    python benchmarks/wild.py FOLDER [--steps N] [--only NAME] > docs/how-to/wild.md
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

#: Rows shown of each table; the most characters of a line.
SHOWN, LONGEST = 10, 160
HEAD = """# Nine tables as people have them

What `invflow density FILE --auto --missing learn` says of well-known files, as they were found on
the web, and ten rows of each beside ten that `invflow sample` draws. Training was cut to {steps}
updates. Rows of the table are evenly spaced; long lines are cut. Made by
`python benchmarks/wild.py FOLDER --steps {steps}`.

"""


def invflow(place: Path, *words: str) -> list[str]:
    """Run a command in a folder, and return the lines of its errors and warnings.

    Raises:
        SystemExit: if it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "invflow", *words],
        cwd=place,
        env={**os.environ, "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"invflow {' '.join(words)}: {done.stderr.strip()}")
    return [line for line in done.stderr.splitlines() if line.startswith("invflow:")]


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a file that are not empty."""
    return [line for line in path.read_text(encoding, "replace").splitlines() if line.strip()]


def block(language: str, texts: list[str]) -> str:
    """Return lines as a block of code."""
    cut = [text if len(text) <= LONGEST else text[: LONGEST - 3] + "..." for text in texts]
    return "\n".join([f"```{language}", *cut, "```\n"])


def section(path: Path, steps: int) -> str:
    """Return what is shown of a file."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        shutil.copy(path, place)
        command = ["density", path.name, "--auto", "--missing", "learn", "--steps", str(steps)]
        said = invflow(place, *command)
        drawn_with = ["sample", f"runs/{path.stem}", "--count", str(SHOWN)]
        invflow(place, *drawn_with)
        drawn = lines(place / "runs" / path.stem / "samples.csv")
    table = lines(path)
    head = len(drawn) - SHOWN
    step = (len(table) - head) // SHOWN
    rows = [*table[:head], *table[head::step][:SHOWN]]
    commands = [f"invflow {' '.join(words)}" for words in (command, drawn_with)]
    parts = [f"## {path.name}\n", block("sh", commands)]
    parts += [block("text", said)] if said else ["Nothing is said: nothing about it is unusual.\n"]
    return "\n".join(
        [*parts, "The table:\n", block("text", rows), "Drawn:\n", block("text", drawn)]
    )


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    print(HEAD.format(steps=arguments.steps), end="")
    paths = sorted(arguments.folder.glob("*.csv"))
    wanted = [path for path in paths if arguments.only in (None, path.stem)]
    print("\n".join(section(path, arguments.steps) for path in wanted), end="")


if __name__ == "__main__":
    main()
