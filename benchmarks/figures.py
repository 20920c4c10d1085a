"""The commands behind the tables and pictures of README and docs, what they need, and their time.

    python benchmarks/figures.py [WORD ...]

lists those that contain all of the words. "Needs" are extras and packages beside `make test`'s, and
data. "Takes" is what is recorded in `benchmarks/results/` or on the page, of machines with two
cores that had other work; where nothing is recorded, it says so. The pages are found by searching
them for the script.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
UNKNOWN = "not recorded"
PEERS = "zuko nflows normflows pyro-ppl flowjax"
PHOTOGRAPHS = "photographs as an .npz file"
UCI = "tables of the UCI repository as .npz files"
DATABASE = "a folder with posteriordb"


class Figure(NamedTuple):
    """What a command makes.

    Attributes:
        command: as it is typed; capitals stand in for files of yours.
        makes: the tables and pictures.
        needs: packages, extras and data beside what `make test` installs.
        takes: the time, where it is recorded.
    """

    command: str
    makes: str
    needs: str = ""
    takes: str = UNKNOWN


FIGURES = (
    # Flows
    Figure("python benchmarks/peers.py", "speed of flows beside other libraries", PEERS),
    Figure("python benchmarks/overhead.py", "parts of a small training step"),
    Figure("python benchmarks/directions.py", "one layer: both directions, memory of a step"),
    Figure("python benchmarks/first_minute.py", "first and later calls in a new process"),
    Figure("python benchmarks/memory.py --data FOLDER", "memory of whole jobs", PHOTOGRAPHS),
    Figure(
        "python benchmarks/company.py",
        "training beside other programs",
        "",
        "4 minutes of training",
    ),
    Figure("python benchmarks/gpu.py --quick", "the kernels on CUDA", "a CUDA device"),
    Figure("python benchmarks/product.py", "the kernels' matrix product alone"),
    Figure(
        "python benchmarks/conditioners.py --steps 3000",
        "what each conditioner learns",
        takes="4 minutes",
    ),
    Figure("python benchmarks/groups.py cost --quick --threads 1", "what groups save"),
    Figure(
        "python benchmarks/groups.py likelihood --csv FILE",
        "what groups lose",
        UCI + ", " + PHOTOGRAPHS,
        "8 minutes",
    ),
    Figure(
        "python benchmarks/groups.py figure --json FILE --csv FILE --out docs/images/groups.png",
        "docs/images/groups.png",
        takes="seconds",
    ),
    # Posteriors
    Figure(
        "python benchmarks/posteriors.py --data FOLDER --guides",
        "six posteriors beside Pyro's guides",
        DATABASE,
        "a minute and a half of fits",
    ),
    Figure("python benchmarks/known_answers.py", "targets with known evidence", "", "10 seconds"),
    Figure("python benchmarks/large_posteriors.py", "500 and 2,000 parameters", "", "5 minutes"),
    Figure("python benchmarks/large_posteriors.py --draws", "a million draws", "", "11 seconds"),
    Figure(
        "python benchmarks/versus_nuts.py run --data FOLDER",
        "seconds beside NUTS and Pathfinder",
        f"pymc nutpie numpyro pymc-extras arviz, {DATABASE}",
        "25 minutes of fits",
    ),
    # Tables
    Figure(
        "python benchmarks/density.py run --data FILE.npz ...",
        "likelihoods beside zuko and nflows",
        UCI,
        "140 minutes",
    ),
    Figure(
        "python benchmarks/density.py run --data bsds300.npz --updates 8000",
        "likelihoods of image patches",
        PHOTOGRAPHS,
        "43 minutes",
    ),
    Figure("python benchmarks/density.py time --data protein.npz", "time of an update", UCI),
    Figure(
        "python benchmarks/compiling.py --kinds realnvp,coupling-nsf",
        "what compile=True gains",
        takes="2 minutes",
    ),
    Figure(
        "python benchmarks/large_tables.py",
        "a million rows: time and memory",
        takes="18 seconds of processor time",
    ),
    Figure(
        "python benchmarks/tables.py run --data FOLDER",
        "synthetic rows, filled values, anomalies",
        '"sdv>=2" pyod, ' + UCI,
        "56 minutes of processor time",
    ),
    Figure(
        "python benchmarks/few_rows.py FILE.npz ...", "2,000 rows beside zuko", UCI, "2 minutes"
    ),
    Figure(
        "python benchmarks/wild.py FOLDER --steps 200",
        "docs/how-to/wild.md",
        "well-known CSV files",
    ),
    Figure("python benchmarks/distillation.py", "students of a MAF", "", "26 minutes"),
    # Images and VAEs
    Figure("python benchmarks/patches.py", "what sampling a TarFlow costs", takes="2 minutes"),
    Figure(
        "python benchmarks/patches.py --run DIRECTORY",
        "what sampling a trained TarFlow costs",
        "a run of invflow density mnist",
        "11 minutes of training",
    ),
    Figure(
        "python benchmarks/equal_time.py run --data digits --seconds 60",
        "likelihoods of digits at equal time",
        "zuko",
        "10 minutes of training",
    ),
    Figure(
        "python benchmarks/equal_time.py run --data mnist.npz --seconds 400",
        "likelihoods of MNIST at equal time",
        "mnist.npz; zuko",
        "67 minutes of training",
    ),
    Figure(
        "python benchmarks/equal_time.py run --data mnist.npz --seconds 3600",
        "likelihoods of MNIST after an hour",
        "mnist.npz; zuko",
        "an hour of training for each flow",
    ),
    Figure(
        "python benchmarks/equal_time.py figure --out docs/images/equal_time.png",
        "docs/images/equal_time.png",
        takes="seconds",
    ),
    Figure(
        "python benchmarks/equal_time.py run --data bsds300.npz --seconds 100",
        "likelihoods of image patches at equal time",
        f"{PHOTOGRAPHS}; zuko",
        "17 minutes of training",
    ),
    Figure("python benchmarks/vae.py", "images per second by network and posterior"),
    Figure("python benchmarks/vae_peers.py", "a VAE's step beside plain PyTorch with zuko"),
    Figure(
        "python benchmarks/starts.py --data digits photographs mnist.npz freyfaces.npz",
        "initial weights of VAEs",
        "mnist.npz, freyfaces.npz",
    ),
    Figure(
        "python benchmarks/vae_learning.py run --data mnist.npz --seed 0",
        "a VAE on MNIST against training time",
        "pythae, mnist.npz",
        "30 minutes for each seed",
    ),
    Figure(
        "python benchmarks/resnet_posteriors.py train --seed 0 --data patches.npz",
        "posteriors of the ResNet VAE",
        PHOTOGRAPHS,
        "84 minutes for all runs",
    ),
    Figure(
        "invflow vae mnist.npz --preset paper-mnist --posteriors diagonal,iaf "
        "--warmup 0 --steps 20000",
        "docs/images/paper-mnist.png, the paper's MNIST experiment",
        "mnist.npz",
        "85 minutes",
    ),
    Figure("make run", "three posteriors on photographs", "", "a minute and a half"),
    Figure("make tutorials", "all that the tutorials print and draw"),
    # Simulators
    Figure(
        "python benchmarks/simulation.py run --numbers 1000",
        "tasks of the SBI benchmark",
        "invflow[sbi,simulation]",
        "27 minutes of training and drawing",
    ),
    Figure(
        "python benchmarks/simulation.py run --numbers 10000 --tools NAME ...",
        "tasks of the SBI benchmark, with more simulations",
        "invflow[sbi,simulation]",
        "52 minutes of training and drawing",
    ),
    Figure(
        'python benchmarks/simulation_coverage.py --tasks "gaussian linear" slcp "two moons"',
        "how often regions contain the parameters",
        "invflow[simulation]",
        "2 minutes of processor time",
    ),
    Figure(
        "python benchmarks/samplers.py run --seeds 0 1 2",
        "pocoMC",
        "invflow[zuko] pocomc",
        "36 minutes",
    ),
    # Pictures of examples
    Figure(
        "python examples/four_points.py --out docs/images/four_points.png",
        "docs/images/four_points.png",
    ),
    Figure("python examples/moons.py --out docs/images/moons.png", "docs/images/moons.png"),
    Figure(
        "python examples/energies.py --out docs/images/energies.png", "docs/images/energies.png"
    ),
    Figure(
        "python examples/conditional.py --out docs/images/conditional.png",
        "docs/images/conditional.png: digits by class",
    ),
    Figure(
        "python examples/patches.py --out docs/images/patches.png",
        "docs/images/patches.png: digits by a TarFlow",
    ),
    Figure(
        "python examples/outbreak.py --out docs/images/outbreak.png",
        "docs/images/outbreak.png: a simulator's posterior",
    ),
)

SCRIPT = re.compile(r"(?:benchmarks|examples)/\w+\.py")


def pages() -> list[Path]:
    """Return the pages that show tables and pictures."""
    kernels = ROOT / "src/invflow/kernels/README.md"
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), kernels]


def shown(figure: Figure) -> list[str]:
    """Return the pages that name the script of a figure, or the command if it has no script."""
    script = SCRIPT.search(figure.command)
    mark = script[0] if script else figure.command
    found = [page for page in pages() if mark in page.read_text(encoding="utf-8")]
    return [page.relative_to(ROOT).as_posix() for page in found]


def described(figure: Figure) -> str:
    """Return what is printed about a figure."""
    return "\n".join(
        [
            figure.command,
            f"    makes {figure.makes}",
            f"    needs {figure.needs or 'nothing else'}; takes: {figure.takes}",
            f"    shown in {', '.join(shown(figure))}",
        ]
    )


def main() -> None:
    """Print the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORD")
    words = parser.parse_args().words
    found = [text for text in map(described, FIGURES) if all(word in text for word in words)]
    if not found:
        sys.exit(f"no command has {' and '.join(map(repr, words))}")
    try:
        print("\n".join(found), flush=True)
    except BrokenPipeError:  # a reader like `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
