"""What a fit records about itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

from invflow import _checks


@dataclass(frozen=True)
class Record:
    """What a fit has recorded.

    Args:
        evaluations: number of evaluations of the log density by this process.
        non_finite: number of them that were NaN or infinite, and rejected.
        seconds: duration of the fit.
        steps: number of training steps.
        stopped: why training stopped: "converged", "max_steps" or "interrupted"; "" if unknown.
        modes: one mapping for each mode kept: its "weight" in the posterior, its "log_evidence",
            its "location", a list of numbers, and the number of "starts" that led to it.
        starts: number of starting points of the search for modes.
        bounds: the best bound after each round of training: (mode, steps, nats).
    """

    evaluations: int = 0
    non_finite: int = 0
    seconds: float = 0.0
    steps: int = 0
    stopped: str = ""
    modes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    starts: int = 0
    bounds: list[tuple[int, int, float]] = field(default_factory=list[tuple[int, int, float]])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it: None for NaN and infinity."""
        return _finite(asdict(self))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Record:
        """Return the record that `to_dict` has turned into a mapping.

        Raises:
            TypeError, ValueError: if it is not a mapping, or has entries that a record does not
                have, or entries of another type.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f"record must be a mapping, got {type(content).__name__}")
        known = {entry.name for entry in fields(cls)}
        unknown = sorted(content.keys() - known - EARLIER)
        if unknown:
            raise ValueError(f"record has unknown entries {', '.join(map(repr, unknown))}")
        given = {name: content[name] for name in known & content.keys()}
        for name, default in asdict(cls()).items():
            kinds = (int, float) if isinstance(default, float) else type(default)
            value = given.get(name, default)
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise ValueError(f"{name} of a record must be like {default!r}, got {value!r}")
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"{name} of a record must not be negative, got {value!r}")
        given["modes"] = [_mode(each) for each in given.get("modes", [])]
        given["bounds"] = [_bound(each) for each in given.get("bounds", [])]
        return cls(**given)


#: Entries of records that earlier versions have written, which are ignored.
EARLIER = {"warnings"}


def _finite(value: Any) -> Any:
    """Return a value with None instead of NaN and infinity."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in cast(dict[str, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in cast(list[Any], value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mode(content: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise ValueError(f"a mode of a record must be a mapping, got {content!r}")
    mode: dict[str, Any] = {**cast(Mapping[str, Any], content)}
    weight = _checks.number("weight", mode.get("weight"))
    if not 0 <= weight <= 1 + 1e-9:  # of a sum, which may be rounded
        raise ValueError(f"weight must be between 0 and 1, got {weight}")
    _checks.positive_integer("starts", mode.get("starts", 0), minimum=0)
    if "log_evidence" in mode:
        mode["log_evidence"] = _number("log_evidence", mode["log_evidence"])
    if "location" in mode:
        _checks.numbers("location", mode["location"])
    return mode


def _bound(content: Any) -> tuple[int, int, float]:
    try:
        mode, steps, nats = content
    except (TypeError, ValueError) as error:
        raise ValueError(f"a bound must be a mode, steps and nats, got {content!r}") from error
    mode, steps = (
        _checks.positive_integer(name, value, minimum=0)
        for name, value in (("mode", mode), ("steps", steps))
    )
    return mode, steps, _number("nats", nats)


def _number(name: str, value: Any) -> float:
    """Return a number, NaN for None."""
    return math.nan if value is None else _checks.number(name, value)
