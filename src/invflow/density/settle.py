"""Decisions about the table of a run that its settings leave open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from invflow._undecided import UndecidedError
from invflow.density.config import Config
from invflow.density.data import ENOUGH, columns, table
from invflow.density.table.dialect import for_others, said
from invflow.density.table.files.read import READABLE, TEXT, suffix
from invflow.density.table.labels import columns_named
from invflow.density.table.proposals import Proposal, propose
from invflow.density.table.source import Frame, Source


class Settled(NamedTuple):
    """The settings of a run, complete.

    Attributes:
        config: the settings, with the dialect of the file; accepted proposals replace `auto`.
        lines: what was detected and decided.
    """

    config: Config
    lines: tuple[str, ...]


def settle(config: Config) -> Settled:
    """Return the settings of a run, with the decisions that they leave open.

    Args:
        config: the settings as given.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged.
        UndecidedError: if a decision is needed, and either `auto` is not set or nothing can be
            proposed. It names all decisions at once.
    """
    source = table(config)
    _check_names(config, source)
    config = _found(config, source)
    reading = said(config.reading)
    lines = [f"read as: {reading}"] if reading else []
    while proposals := _proposals(config, source):
        undecided = any(each.needed and (each.choices or not config.auto) for each in proposals)
        left = set(columns(config, source).names).difference(*(each.drop for each in proposals))
        if undecided or not left:
            raise UndecidedError(_message(config.data, proposals, bool(left)))
        lines += map(str, proposals)
        decided = _with(config, proposals) if config.auto else config
        if decided == config:
            break
        source = table(decided)
        config = _found(decided, source)
    text = [name for name, dtype in source.block(0).dtypes.items() if dtype == "str"]
    if config.data.lower().endswith(tuple(TEXT)) and text:
        # Other files may have numbers only where this one has numbers and words.
        reading = replace(config.reading, text=tuple(map(str, text)))
        config = config.model_copy(update={"reading": reading})
    return Settled(config.model_copy(update={"auto": False}), tuple(lines))


def _check_names(config: Config, source: Source) -> None:
    """Check that the settings of reading name columns of the table.

    Raises:
        ValueError: if one does not exist, or a marker is empty.
    """
    asked = config.reading
    columns_named("--dates", tuple(asked.dates or ()), source.names)
    columns_named("--codes", asked.codes or (), source.names)
    for text in config.na:
        whole = text.rpartition("=")[0] in source.names
        for part in [text] if whole else text.split(","):
            name, _, value = part.rpartition("=")
            if not value.strip():
                raise ValueError(f"--na has {part!r} without a value; say --na VALUE")
            columns_named("--na", [name] if name else [], source.names)
    if asked.index and source.block(0).index.name != asked.index:
        columns_named("--index", [asked.index], source.names)


def _found(config: Config, source: Source) -> Config:
    """Return the settings with the dialect of the file and the exact names of its columns."""
    change: dict[str, Any] = {
        "only": columns_named("--only", config.only, source.names),
        "drop": columns_named("--drop", config.drop, source.names),
    }
    if isinstance(source, Frame) and source.dialect is not None:
        usual = TEXT[suffix(Path(config.data), READABLE)]
        change["reading"] = for_others(source.dialect, config.reading, usual)
    return config.model_copy(update=change)


def _proposals(config: Config, source: Source) -> list[Proposal]:
    kept = columns(config, source)
    if sum(kept.blocks) < ENOUGH:
        return []
    given = columns_named("conditional_on", config.conditional_on, kept.names)
    decided = {*given, *config.kinds}
    return propose(kept, decided, config.missing, config.reading)


def _with(config: Config, proposals: Sequence[Proposal]) -> Config:
    """Return the settings with all proposals accepted."""
    drop = chain(config.drop, *(each.drop for each in proposals))
    na = chain(config.na, *(each.na for each in proposals))
    change: dict[str, Any] = {"drop": tuple(dict.fromkeys(drop)), "na": tuple(dict.fromkeys(na))}
    if any(each.marginalise for each in proposals):
        change["missing"] = "marginalise"
    return config.model_copy(update=change)


def _message(data: str, proposals: Sequence[Proposal], left: bool) -> str:
    auto = "" if any(each.choices for each in proposals) else " (--auto takes all of them)"
    head = f"{data} needs decisions{auto}:" if left else f"{data} does not have a usable column:"
    return "\n  ".join([head, *map(str, proposals)])
