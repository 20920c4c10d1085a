"""What is installed and which kernels run, in about ten lines that can be pasted into an issue.

It needs no extra, and every line is made by itself: what is missing or broken is said on its line.
No line names a folder.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any

import torch

import invflow
from invflow.cli import streams
from invflow.kernels import build, reason
from invflow.kernels.cpu import library

__all__ = ["EXAMPLES", "command"]

EXAMPLES = ("doctor",)
#: Extras that only developers install, and `all`, which is made of others.
LEFT_OUT = {"adapters", "all", "bench", "dev", "docs"}
#: What decides how many threads run, and how they wait.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def command() -> None:
    """Show what is installed, which kernels run and why not, for pasting into an issue."""
    for name, line in LINES.items():
        for text in _said(line):
            print(f"{name:<10} {_without_folders(text)}", flush=True)  # noqa: T201
    streams.check_shown()


def _said(line: Callable[[], str | Iterator[str]]) -> list[str]:
    """Return what a line says, or why it cannot be made."""
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            said = line()
            return [said] if isinstance(said, str) else list(said)
    except Exception as error:
        return [f"unknown ({_brief(error)})"]


def _brief(error: BaseException) -> str:
    """Return an error as its kind and its first line."""
    first, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _without_folders(text: str) -> str:
    """Return a text whose paths have lost their folders: they may hold names of people."""
    for folder in (str(Path(invflow.__file__).parent), sys.prefix, str(Path.home()), os.getcwd()):
        if len(folder) > 1:
            text = text.replace(folder, "...")
    return re.sub(r"(?<![\w:/])(?:[A-Za-z]:)?[/\\](?:[^/\\:'\"\n]+[/\\])+", "", text)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _invflow() -> str:
    try:
        origin = metadata.distribution("invflow").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return f"{invflow.__version__}, not installed by pip"
    editable = json.loads(origin or "{}").get("dir_info", {}).get("editable", False)
    return f"{invflow.__version__}{', editable' if editable else ''}"


def _python() -> str:
    return (
        f"{platform.python_version()} ({platform.python_implementation()}), {platform.platform()}"
    )


def _torch() -> str:
    others = ", ".join(f"{name} {_version(name)}" for name in ("numpy", "safetensors"))
    return f"{torch.__version__}, {others}"


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", about.read_text() if about.exists() else "", re.M)
    named = names[0] if names else platform.processor() or platform.machine()
    return f"{named}; PyTorch uses {torch.backends.cpu.get_cpu_capability()}"


def _threads() -> str:
    given = [f"{name}={os.environ[name]}" for name in THREADS if name in os.environ]
    return ", ".join([f"{torch.get_num_threads()} of {os.cpu_count()} processors", *given])


def _devices() -> str:
    found = ["cpu"]
    if torch.cuda.is_available():
        found += [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return ", ".join(found)


def _on_cpu() -> str:
    if (why := reason("cpu")) is not None:
        return f"no kernels, PyTorch runs: {why.splitlines()[0]}"
    about = json.loads(build.stamp(build.LIBRARY).read_text())
    return f"compiled kernels, {library.variant()}, by {about['compiler']}"


def _on_cuda() -> str:
    if (why := reason("cuda")) is not None:
        return f"no kernels: {why.splitlines()[0]}"
    return f"kernels of Triton {_version('triton')}"


def _extras() -> str:
    return ", ".join(extra for extra, of in _lacking().items() if not of) or "none is complete"


def _missing() -> str:
    """Return the extras that are not complete, with what they lack where a part is there."""
    required = _required()
    lacking = [
        extra if set(of) == set(required[extra]) else f"{extra} ({', '.join(of)})"
        for extra, of in _lacking().items()
        if of
    ]
    return ", ".join(lacking) or "nothing"


def _broken() -> Iterator[str]:
    """Give the packages of extras that are installed and cannot be imported."""
    needed = set[str]().union(*_required().values())
    broken = {
        package: error
        for package, modules in _installed().items()
        if package in needed and (error := _failure(modules)) is not None
    }
    for package, error in broken.items():
        yield f"{package} {_version(package)}, {_brief(error)}"
    if not broken:
        yield "nothing"


def _failure(modules: Sequence[str]) -> BaseException | None:
    """Return what the import of a package raises, whatever it is; None if it works."""
    try:
        for module in modules:
            importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    return None


def _lacking() -> Mapping[str, Sequence[str]]:
    """Return what each extra lacks: names of packages, and versions that are not those needed."""
    return {
        extra: sorted(filter(None, map(_lack, of, of.values())))
        for extra, of in _required().items()
    }


def _lack(package: str, requirement: str) -> str | None:
    """Return a package that is not there, or with the version that it should not have."""
    if package not in _installed():
        return package
    parsed = _parsed(requirement)
    if parsed is None or parsed.specifier.contains(_version(package), prereleases=True):
        return None
    return f"{package} {_version(package)}: needs {parsed.specifier}"


def _required() -> Mapping[str, Mapping[str, str]]:
    """Return the packages that each extra needs on this system, from what pip knows of invflow."""
    found: dict[str, dict[str, str]] = {}
    for requirement in metadata.requires("invflow") or []:
        package, extra = (
            re.match(r"[\w.-]+", requirement),
            re.search(r"extra == ['\"]([\w-]+)['\"]", requirement),
        )
        if package and extra and extra[1] not in LEFT_OUT:
            needed = found.setdefault(extra[1], {})
            parsed = _parsed(requirement)
            if parsed is None or parsed.marker.evaluate({"extra": extra[1]}):
                needed[_normal(package[0])] = requirement
    return dict(sorted(found.items()))


def _parsed(requirement: str) -> Any:
    """Return a requirement as packaging reads it; None where packaging cannot be imported."""
    try:
        return importlib.import_module("packaging.requirements").Requirement(requirement)
    except ImportError:
        return None


@cache
def _installed() -> Mapping[str, Sequence[str]]:
    """Return all packages, each with the module to import: the one that has its name, or any."""
    modules: dict[str, set[str]] = {
        _normal(each.name): set() for each in metadata.distributions() if each.name
    }
    for module, packages in metadata.packages_distributions().items():
        for package in packages:
            modules.setdefault(_normal(package), set()).add(module)
    return {
        package: sorted(names, key=lambda name: _normal(name) != package)[:1]
        for package, names in sorted(modules.items())
    }


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


LINES: Mapping[str, Callable[[], str | Iterator[str]]] = {
    "invflow": _invflow,
    "python": _python,
    "torch": _torch,
    "processor": _processor,
    "threads": _threads,
    "devices": _devices,
    "on CPUs": _on_cpu,
    "on CUDA": _on_cuda,
    "extras": _extras,
    "missing": _missing,
    "broken": _broken,
}
