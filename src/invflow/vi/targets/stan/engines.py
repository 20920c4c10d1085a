"""The engines that compile Stan programs, by name."""

from __future__ import annotations

from collections.abc import Callable

from invflow._extra import installed
from invflow.vi.targets.stan import bridgestan, httpstan
from invflow.vi.targets.stan.compiled import Compiled
from invflow.vi.targets.stan.program import Program

Engine = Callable[[Program, str], Compiled]
ENGINES: dict[str, Engine] = {"bridgestan": bridgestan.compiled, "httpstan": httpstan.compiled}


def named(engine: str) -> Engine:
    """Return an engine by its name; for "auto" one that is ready, if possible without a download.

    Raises:
        ValueError: if there is no such engine.
        ImportError: if none is installed.
    """
    if engine in ENGINES:
        return ENGINES[engine]
    if engine != "auto":
        names = ", ".join(map(repr, ("auto", *ENGINES)))
        raise ValueError(f"engine must be one of {names}, got {engine!r}")
    if bridgestan.ready():
        return bridgestan.compiled
    if installed("httpstan"):
        return httpstan.compiled
    if installed("bridgestan"):  # it fetches its sources first
        return bridgestan.compiled
    raise ImportError(
        'from_stan needs BridgeStan of "invflow[stan]", or httpstan: pip install '
        '"invflow[httpstan]"'
    )
