"""What a fit records about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


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
        """Return a mapping that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Record:
        """Return the record that `to_dict` returned as a mapping.

        Raises:
            ValueError: if it is not a mapping, or an entry is unknown or has the wrong type.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f"record must be a mapping, got {type(content).__name__}")

        unknown = sorted(content.keys() - {entry.name for entry in fields(cls)})
        if unknown:
            raise ValueError(f"record has unknown entries {', '.join(map(repr, unknown))}")
        for name, default in asdict(cls()).items():
            kinds = (int, float) if isinstance(default, float) else type(default)
            value = content.get(name, default)
            if not isinstance(value, kinds) or isinstance(value, bool):
                kind = type(default).__name__
                raise ValueError(f"{name} of a record must be of type {kind}, got {value!r}")
        return cls(**content)
