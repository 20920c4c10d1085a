"""Whether anything has become slower: ratios of times, compared with those in the repository.

- "inverse / forward": one affine MADE layer, the sequential direction over the parallel one, and
  the same of training steps (`directions.py`);
- "invflow / nflows": four layers of either library, in each direction and in training through it
  (`peers.py`);
- "import": seconds to import invflow over seconds to import torch, each in a process of its own.

All are ratios of the fastest times of alternating calls in this run, so they depend neither on the
speed of the machine nor on other work on it. They may depend on its caches and the number of
threads, so the environment of the record is printed if it differs. A ratio that is more than 40 %
worse than the recorded one is measured again, and the better of the two counts. The exit status is
1 if something has become slower. A faster forward pass also raises a ratio: in that case make a new
record.

    python benchmarks/guard.py [--record] [--only NAME] [--quick] [--threads N] [--file RECORD]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import directions
import peers
import torch
from directions import Effort, Size

from invflow._files import write_text

RECORD = Path(__file__).parent / "results" / "ratios.json"
#: By how much of it a ratio may be worse than the recorded one.
TOLERANCE = 0.4
SIZES = [Size(8, 64, 256), Size(64, 512, 1024)]
PEER, PEER_SIZES = "nflows", [Size(8, 64, 256), Size(64, 256, 256)]
FULL = Effort(warm_up=0.0, seconds=10.0, fewest=5, most=2000, slowest=20.0)
QUICK = Effort(warm_up=0.0, seconds=0.5, fewest=3, most=50, slowest=20.0)
Measure = Callable[[], float]
Ratios = dict[str, float]


def ratio(call: peers.Call, reference: peers.Call, effort: Effort) -> float:
    """Return the quickest time of a call over that of another, which it takes turns with.

    Other work on the machine only adds to times: the quickest are the steadiest.
    """
    call(), reference()  # what is compiled, is compiled here
    begin = time.perf_counter()
    times: list[tuple[float, float]] = []
    while len(times) < effort.fewest or (
        len(times) < effort.most and time.perf_counter() - begin < effort.seconds
    ):
        times.append((peers.seconds(call), peers.seconds(reference)))
    quickest, other = (min(column) for column in zip(*times, strict=True))
    return quickest / other


def plain(size: Size, effort: Effort) -> float:
    """Return the time of the inverse over that of the forward pass."""
    layer, z, x = directions.build("invflow", size)
    with torch.no_grad():
        return ratio(lambda: layer.inverse(x), lambda: layer.forward(z), effort)


def training(size: Size, effort: Effort) -> float:
    """Return the time of a training step through the inverse over that of one forwards."""
    layer, z, x = directions.build("invflow", size)
    return ratio(lambda: layer.step(layer.inverse, x), lambda: layer.step(layer.forward, z), effort)


def against_peer(mode: str, size: Size, effort: Effort) -> float:
    """Return invflow's time over the peer's."""
    torch.manual_seed(0)
    ours, theirs = (peers.LIBRARIES[name][1](size)[mode] for name in ("invflow", PEER))
    return ratio(ours, theirs, effort)


def imports(effort: Effort) -> float:
    """Return the time in which a new process imports invflow over that for torch."""

    def importing(module: str) -> peers.Call:
        return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    return ratio(importing("invflow"), importing("torch"), effort)


def measures(effort: Effort) -> dict[str, Measure]:
    """Return what is measured, by name."""
    found: dict[str, Measure] = {"import: invflow / torch": partial(imports, effort)}
    for size in SIZES:
        found[f"inverse / forward, {size}"] = partial(plain, size, effort)
        found[f"training through it / forward, {size}"] = partial(training, size, effort)
    if directions.version(PEER):
        for size in PEER_SIZES:
            for mode in peers.MODES:
                name = f"{mode}: invflow / {PEER}, {size}"
                found[name] = partial(against_peer, mode, size, effort)
    return found


def slower(recorded: Ratios, found: Ratios, tolerance: float = TOLERANCE) -> list[str]:
    """Return the names of ratios that are worse than recorded by more than the tolerance."""
    return [
        name
        for name, ratio in found.items()
        if name in recorded and not ratio <= recorded[name] * (1 + tolerance)
    ]


def measure(what: dict[str, Measure], recorded: Ratios) -> Ratios:
    """Return the ratios; the better of two where the first is worse than recorded."""
    found: Ratios = {}
    for name, ratio in what.items():
        print(f"measuring {name} ...", file=sys.stderr)
        found[name] = ratio()
        if slower(recorded, {name: found[name]}):
            found[name] = min(found[name], ratio())
    return found


def table(recorded: Ratios, found: Ratios) -> str:
    """Return a table of the ratios beside those recorded."""
    worse = slower(recorded, found)
    rows: list[list[str]] = []
    for name, ratio in found.items():
        before = recorded.get(name)
        change = ["-", ""] if before is None else [f"{before:.3g}", f"{ratio / before - 1:+.0%}"]
        rows.append([name, f"{ratio:.3g}", *change, "slower" if name in worse else ""])
    return directions.table(["ratio", "now", "recorded", "change", ""], rows)


def main(arguments: list[str]) -> int:
    """Measure and compare, or record; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", action="store_true", help="write the ratios to the file")
    parser.add_argument("--only", default="", help="ratios whose names contain this")
    parser.add_argument("--quick", action="store_true", help="rough numbers, sooner")
    parser.add_argument(
        "--threads", type=int, default=2, help="number of PyTorch threads (default: 2)"
    )
    parser.add_argument("--file", type=Path, default=RECORD, help="file of the recorded ratios")
    options = parser.parse_args(arguments)
    if options.record and options.only:
        parser.error("--record: expected all ratios, got --only")
    torch.set_num_threads(options.threads)
    about = directions.environment(options.threads)
    before = json.loads(options.file.read_text()) if options.file.exists() else {}
    recorded: Ratios = before.get("ratios", {})
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    if before and before["environment"] != about:
        was = ", ".join(f"{key} {value}" for key, value in before["environment"].items())
        print(f"recorded on: {was}")

    if not directions.version(PEER):
        print(f"pip install {PEER}, to have it beside invflow")
    every = measures(QUICK if options.quick else FULL)
    wanted = {name: ratio for name, ratio in every.items() if options.only in name}
    found = measure(wanted, {} if options.record else recorded)
    print("\n" + table(recorded, found))
    if options.record:
        content = {"environment": about, "ratios": found}
        write_text(options.file, json.dumps(content, indent=2) + "\n")
        return 0
    if worse := slower(recorded, found):
        print(f"\nslower than recorded: {'; '.join(worse)}")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
